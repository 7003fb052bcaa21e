"""An answer that drips is given up in time, wherever in it the bytes drip, and without a thread for each request."""

import gzip
import socket
import threading
import time
from contextlib import closing, suppress
from itertools import repeat

import pytest
import requests

from cht_sync.common import slow_answers
from cht_sync.common.http_session import HttpSession
from cht_sync.common.slow_answers import Watch

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "head": HEAD,
    "length": HEAD + b"Content-Length: 1000\r\n\r\n",
    "none": HEAD + b"Connection: close\r\n\r\n",
    "chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "compressed": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n" + gzip.compress(b"x" * 1000)[:10],
}


@pytest.fixture
def serve():
    """Answers the next connection with some bytes, then with one after the other."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def start(begin, rest=repeat(b"0"), pause=0.02):
            def answer():
                with suppress(OSError), closing(server.accept()[0]) as connection:
                    connection.recv(65536)
                    connection.sendall(begin)
                    for some in rest:
                        connection.sendall(some)
                        time.sleep(pause)

            threading.Thread(target=answer, daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/"

        yield start


def read(url, seconds):
    with Watch(seconds) as watch, HttpSession() as session:
        try:
            with session.get(url, stream=True, timeout=5) as answer:
                for chunk in answer.iter_content(256 * 1024):
                    watch.came(len(chunk))
        except requests.RequestException:
            return watch.expired
    return watch.expired


@pytest.mark.parametrize("where", DRIPS)
def test_what_drips_is_given_up(serve, where):
    url, begun, before = serve(DRIPS[where]), time.monotonic(), threading.active_count()
    assert read(url, 0.5)
    assert 0.4 < time.monotonic() - begun < 3
    assert threading.active_count() <= before


def test_what_comes_fast_enough_is_read_to_its_end(serve, monkeypatch):
    monkeypatch.setattr(slow_answers, "FEWEST_BYTES", 1000)
    assert not read(serve(HEAD + b"Content-Length: 10000\r\n\r\n", repeat(b"x" * 100, 100), 0.01), 0.4)


def test_what_is_unpacked_from_few_bytes_counts():
    with Watch(0.05) as watch:
        time.sleep(0.1)
        watch.came(slow_answers.FEWEST_BYTES)
        watch.received(1)
        time.sleep(0.1)
        with pytest.raises(TimeoutError):
            watch.received(1)
