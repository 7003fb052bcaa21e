"""Hands out a database's feed from memory, as fast as HTTP goes: what a quick CouchDB would leave to us."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import requests

from include.demo.pouchdb import PouchDBServer


class ReplayServer:
    """A process that answers ``GET /{db}`` and ``_changes`` with rows it has in memory.

    :param couchdb: where the rows come from.
    :param database: name of the database.
    """

    def __init__(self, couchdb: PouchDBServer, database: str) -> None:
        self._couchdb, self._database = couchdb, database
        self.port = 0

    def __enter__(self) -> ReplayServer:
        """Fetches the rows and starts the process."""
        session = requests.Session()
        session.auth = self._couchdb.auth
        url = f"{self._couchdb.url}/{self._database}/_changes"
        rows = session.get(url, params={"include_docs": "true"}).json()["results"]
        self._file = Path(tempfile.mkstemp(prefix="cht-sync-feed-")[1])
        self._file.write_text("\n".join(json.dumps(row, separators=(",", ":")) for row in rows))
        command = [sys.executable, "-m", "tests.benchmarks.replay", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait()
        self._file.unlink()


def serve(rows: list[bytes]) -> None:
    """Answers until it is terminated; prints its port first.

    :param rows: JSON of the rows of a feed, in order.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = parse_qs(address.query)
            if not address.path.endswith("/_changes"):
                body = b'{"db_name":"bench","instance_start_time":"0"}'
            else:
                start = int(query["since"][0].partition("-")[0])
                part = rows[start : start + int(query["limit"][0])]
                end = start + len(part)
                tail = b'\n],\n"last_seq":"%d-x","pending":%d}\n' % (end, len(rows) - end)
                body = b'{"results":[\n' + b",\r\n".join(part) + tail
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]).read_bytes().split(b"\n"))
