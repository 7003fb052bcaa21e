"""What CouchDB and the network before it do wrong, with a real server behind a proxy."""

from __future__ import annotations

import itertools
import time

import pytest

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.errors import CouchDBError
from tests.faults.proxy import END, Fault, http_answer
from tests.faults.rig import is_one_sentence, shorten_pauses, text

pytestmark = pytest.mark.integration
PAGE = b"/_changes?"
SLOW_DOWN = b'{"error":"too_many_requests","reason":"slow down"}'


@pytest.fixture
def few(rig):
    """Yield databases of which a part is copied and as much waits, so that a failure has something to lose."""
    rig.couch.fill(60)
    rig.run(batch_size=20)
    rig.couch.write(*({"_id": f"later{n}", "text": text(300)} for n in range(60)))
    rig.batch_size = 20
    return rig


@pytest.mark.parametrize(
    "fault",
    [
        Fault(latency=0.1),
        Fault(latency=0.3, match=PAGE, times=3),
        Fault(bandwidth=100_000),
        Fault(piece=256),
        Fault(piece=1, match=PAGE),
        Fault(close_at=0, match=PAGE, times=2),
        Fault(close_at=0, times=2),
        Fault(close_at=200, match=PAGE, times=2),
        Fault(close_at=2000, match=PAGE, times=2),
        Fault(close_at=END, match=PAGE, times=3),
        Fault(close_at=END),
        Fault(close_at=END, reset=False),
        Fault(close_at=0, reset=False, match=PAGE, times=2),
        Fault(close_at=2000, reset=False, match=PAGE, times=2),
        Fault(forward=False, match=PAGE, times=2),
        Fault(answer=http_answer(429, SLOW_DOWN), match=PAGE, times=2),
        Fault(answer=http_answer(503), match=PAGE, times=2),
        Fault(answer=http_answer(503, b"<html>", Content_Type="text/html"), times=2),
        Fault(answer=http_answer(500, b'{"error":"badmatch","reason":"boom"}'), match=PAGE, times=2),
        Fault(answer=http_answer(200, b'{"error":"timeout","reason":"late"}'), match=PAGE, times=2),
        Fault(answer=http_answer(200, b""), match=PAGE, times=2),
    ],
    ids=[
        "latency",
        "latency of some pages",
        "bandwidth",
        "pieces of 256 bytes",
        "pieces of one byte",
        "reset before the answer",
        "reset of the first two",
        "reset in the head",
        "reset in the body",
        "reset after the answer",
        "reset after every answer",
        "closed after every answer",
        "closed before the answer",
        "cut in the body",
        "reset before the request came through",
        "429",
        "503",
        "503 of a proxy",
        "500",
        "error in 200",
        "nothing in 200",
    ],
)
def test_what_passes_is_survived(few, fault):
    few.http.inject(fault)
    few.run()
    assert fault.hits > 0
    assert few.differences() == []


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(few, status):
    fault = few.http.inject(Fault(answer=http_answer(status, SLOW_DOWN, Retry_After="1"), match=PAGE, times=1))
    begun = time.monotonic()
    few.run()
    assert time.monotonic() - begun >= 1
    assert fault.hits == 1
    assert few.differences() == []


@pytest.mark.parametrize("size", [10, 2000], ids=["as it is", "compressed"])
def test_a_page_cut_at_every_tenth_byte(rig, size):
    """An answer 200 that ends early is never taken for a page, wherever it ends and however."""
    rig.couch.write({"_id": "a", "n": 1.5}, {"_id": "b", "text": "ä" * size}, {"_id": "c", "deep": [{"x": None}]})
    hook = CouchDBHook()

    def read():
        return hook.patiently(lambda: hook.changes(rig.couch.name, None, 10))

    whole, last = read(), rig.couch.changes()["last_seq"]
    for at in itertools.count(0, 10):
        fault = rig.http.inject(Fault(close_at=at, reset=at % 20 == 0, match=PAGE, times=1))
        page = read()
        # CouchDB hands out the shards as they come.
        assert sorted((each.id, bytes(each.doc)) for each in page.results) == sorted(
            (each.id, bytes(each.doc)) for each in whole.results
        )
        assert rig.couch.ends_at(page.checkpoint, last)
        if not fault.hits:  # the answer is shorter
            break
    assert rig.http.injected > 50


def test_a_body_without_a_length_that_is_cut(few):
    """CouchDB sends pages in chunks; where a proxy ends by closing, nothing but the JSON tells that there was more."""
    page = few.couch.session.get(f"{few.couch.url}/_changes", params={"include_docs": "true", "since": "0"}).content
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    ends = [*range(0, len(page), 500), len(page) - 2]
    faults = [few.http.inject(Fault(answer=head + page[:at], match=PAGE, times=1)) for at in ends]
    few.run()
    assert all(fault.hits for fault in faults)
    assert few.differences() == []


def test_a_server_that_hangs_for_a_while(few):
    few.extra(read_timeout=0.3)
    fault = few.http.inject(Fault(hang=True, match=PAGE, times=2))
    few.run()
    assert fault.hits == 2
    assert few.differences() == []


def test_a_server_that_drips(few):
    """Each byte comes before the time-out of a byte, head and all; the answer would take minutes."""
    few.extra(read_timeout=0.3)
    fault = few.http.inject(Fault(bandwidth=20, match=PAGE, times=2))
    begun = time.monotonic()
    few.run()
    assert time.monotonic() - begun < 30
    assert fault.hits == 2
    assert few.differences() == []


def test_pages_that_are_too_slow_get_smaller(few):
    """A server that needs too long for twenty changes may manage ten."""
    few.extra(read_timeout=0.3)
    fault = few.http.inject(Fault(hang=True, match=b"limit=20&"))
    few.run()
    assert fault.hits > 0
    assert few.differences() == []


def test_pages_that_never_come_through_whole(few, monkeypatch):
    """Something cuts every answer after so many bytes: what fits comes, be it one document at a time."""
    shorten_pauses(monkeypatch, 0.3)
    fault = few.http.inject(Fault(match=PAGE, close_at=1500))
    few.run()
    assert fault.hits > 0
    assert few.differences() == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(hang=True, match=PAGE), "timed out"),
        (Fault(hang=True), "timed out"),
        (Fault(close_at=0, match=PAGE), "Connection reset"),
        (Fault(close_at=0, reset=False, match=PAGE), ("connection failed", "did not finish")),
        (Fault(close_at=100, reset=False, match=PAGE), ("connection failed", "did not finish", "no complete page")),
        (Fault(forward=False), "could not be reached"),
        (Fault(answer=http_answer(503), match=PAGE), "answered 503"),
        (Fault(answer=http_answer(429, SLOW_DOWN), match=PAGE), "answered 429 (too_many_requests: slow down)"),
        (Fault(answer=http_answer(200, b'{"results":['), match=PAGE), "no complete page"),
    ],
    ids=[
        "pages hang",
        "everything hangs",
        "reset",
        "closed",
        "cut",
        "never through",
        "503",
        "429",
        "no page",
    ],
)
def test_what_does_not_pass_is_told_and_nothing_is_stored(few, monkeypatch, fault, said):
    shorten_pauses(monkeypatch, 0.5)
    if fault.hang:
        few.extra(read_timeout=0.2)
    before = few.state()
    few.http.inject(fault)
    begun = time.monotonic()
    with pytest.raises(CouchDBError) as caught:
        few.run()
    assert time.monotonic() - begun < 15
    assert fault.hits > 1
    text = str(caught.value)
    assert is_one_sentence(text)
    assert any(each in text for each in ([said] if isinstance(said, str) else said))
    assert f"127.0.0.1:{few.http.port}" in text or "page of changes" in text
    assert few.couch.server.password not in text
    assert few.state() == before
    # Nothing is left behind that the next run would stumble over.
    few.http.clear()
    few.extra()
    few.run()
    assert few.differences() == []


def test_a_server_that_refuses_connections(few, monkeypatch):
    shorten_pauses(monkeypatch, 0.5)
    before = few.state()
    few.http.refuse()
    with pytest.raises(CouchDBError, match=r"Connection refused.*COUCHDB_HOST") as caught:
        few.run()
    assert is_one_sentence(str(caught.value))
    assert few.state() == before
    few.http.listen()
    few.run()
    assert few.differences() == []


def test_what_was_stored_before_the_failure_stays(few, monkeypatch):
    """The second page never comes: the first is stored with its checkpoint, and the next run goes on from there."""
    shorten_pauses(monkeypatch, 0.3)
    before = few.checkpoint()
    few.http.inject(Fault(match=PAGE + b"include_docs=true&limit=20&seq_interval=20&since=" + before.encode()))
    few.http.inject(Fault(match=PAGE, close_at=0))
    with pytest.raises(CouchDBError):
        few.run()
    assert (len(few.couch.ids_after(before)), len(few.couch.ids_after(few.checkpoint()))) == (60, 40)
    few.http.clear()
    summary = few.run()
    assert summary["documents"] == 40
    assert few.differences() == []
