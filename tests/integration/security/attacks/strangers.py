"""Servers that nobody should trust, and a process whose memory is measured while it talks to one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]
MEASURED = """
import json, pathlib, resource
import requests, psycopg2  # what every task has in memory before it begins
from cht_sync.errors import SettingsError
from cht_sync.dbt.deploy.install import install
from cht_sync.couchdb.hook import CouchDBHook

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))

pathlib.Path("/proc/self/clear_refs").write_text("5")  # else it begins with what the parent had
before, said = peak(), ""
try:
    {code}
except Exception as error:
    said = f"{{type(error).__name__}}: {{error}}"
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([said, peak() - before, child]))
"""


@dataclass
class Asked:
    """A request, as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.method} {self.path} {self.headers} {self.body!r}"


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


class Stranger:
    """Answers as it is told, and keeps what it was asked.

    :param answer: what to say to a request.
    :param host: the name by which it is reached.
    """

    def __init__(self, answer: Callable[[Asked], Answer], host: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                stranger.asked.append(asked)
                found = answer(asked)
                self.send_response(found.status)
                whole = isinstance(found.body, bytes)
                for name, value in found.headers.items():
                    self.send_header(name, value)
                if whole:
                    self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                with suppress(OSError):  # whoever asked has enough
                    for piece in [found.body] if whole else found.body:
                        self.wfile.write(piece)

            do_POST = do_HEAD = do_PUT = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"{host}:{self.port}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> Stranger:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def saw(self, *secrets: str) -> bool:
        """Whether a secret came along with any request."""
        return any(secret in asked.text for asked in self.asked for secret in secrets)


def measured(code: str, **environ: str) -> tuple[str, float, float]:
    """Runs Python in a process of its own.

    :param code: one line.
    :param environ: more environment.
    :return: the error that it ended with, megabytes of memory beyond those at its start, and the most of a child.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(code=code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["plugins", "."]), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, own, child = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{own:.0f} MB, {child:.0f} MB of a child: {said}")
    return said, own, child


@contextmanager
def largest(folder: Path) -> Iterator[list[int]]:
    """Watches a folder; gives a list whose last item is the most bytes that it had."""
    found, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            size = 0
            for parent, _, names in os.walk(folder):
                for name in names:
                    with suppress(OSError):
                        size += os.lstat(os.path.join(parent, name)).st_size
            found.append(max(found[-1], size))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield found
    over.set()
    thread.join()
