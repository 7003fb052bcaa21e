"""A document of 300 MB: it ends in quarantine with all its bytes, and little memory is needed for it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import requests

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.servers import EVERYWHERE, mine

pytestmark = [pytest.mark.integration, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
MEGABYTES = 300
NEIGHBOURS = [f"n{number}" for number in range(6)]
IDS = [*NEIGHBOURS[:3], "huge", *NEIGHBOURS[3:]]
HEAD, TAIL = b'{"_id":"huge","_rev":"1-a","text":"', b'"}'
# Text that compresses to nothing would spare both sides their work.
BLOCK = random.Random(3).randbytes(512 * 1024).hex().encode()


def huge() -> Iterator[bytes]:
    yield HEAD
    for number in range(MEGABYTES):
        yield b"%08d" % number + BLOCK[8:]
    yield TAIL


class Handler(BaseHTTPRequestHandler):
    """One database, whose answers come in chunks as CouchDB's do; nothing holds the large document."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if address.path == "/":
            self._stream([b'{"couchdb":"Welcome","version":"3.3.3"}'])
        elif address.path == "/medic":
            self._stream([b'{"db_name":"medic","doc_count":%d,"instance_start_time":"17"}' % len(IDS)])
        elif address.path == "/medic/huge":
            self._stream(huge())
        else:
            bodies = query["include_docs"] == "true"
            self._stream(_changes(int(query["since"]), int(query["limit"]), bodies=bodies))

    def _stream(self, pieces: Iterator[bytes] | list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # it was too large for whoever asked

    def log_message(self, *args: object) -> None:
        pass


def _changes(since: int, limit: int, *, bodies: bool) -> Iterator[bytes]:
    names = IDS[since : since + limit]
    yield b'{"results":['
    for number, name in enumerate(names):
        yield b'%s{"id":"%s","changes":[{"rev":"1-a"}]' % (b"," if number else b"", name.encode())
        if bodies:
            yield b',"doc":'
            yield from huge() if name == "huge" else [b'{"_id":"%s","_rev":"1-a"}' % name.encode()]
        yield b"}"
    last = since + len(names)
    yield b'],"last_seq":"%d","pending":%d}' % (last, len(IDS) - last)


@pytest.fixture
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def copied(database: str, port: int) -> dict[str, float]:
    """Copies in a process of its own; what it says of seconds and of memory beyond that at its start."""
    more = {"PYTHONPATH": os.pathsep.join(["plugins", "."]), "BATCH_SIZE": "4"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.worker", "copy", database],
        cwd=ROOT,
        env={**os.environ, **more, "COUCHDB_HOST": "127.0.0.1", "COUCHDB_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def kept(database: Any) -> tuple[int, str]:
    """Size and SHA-256 of the body in quarantine, put together from its parts."""
    digest, size = hashlib.sha256(), 0
    with closing(psycopg2.connect(database.dsn)) as conn, conn.cursor("parts") as cursor:
        cursor.itersize = 1
        cursor.execute(
            "select body from (select 1 as part, body from v1.couchdb_quarantine"
            " union all select part, body from v1.couchdb_quarantine_part) as parts order by part"
        )
        for (part,) in cursor:
            digest.update(part)
            size += len(part)
    return size, digest.hexdigest()


def test_300_mb_end_in_quarantine_byte_by_byte_and_need_little_memory(port, database):
    """From a server that streams as CouchDB does; pouchdb-server needs a minute for as much."""
    sent = hashlib.sha256()
    for piece in huge():
        sent.update(piece)
    found = copied("medic", port)
    size = len(HEAD) + MEGABYTES * len(BLOCK) + len(TAIL)
    assert database.rows("select _id, body_bytes, resolved_at from v1.couchdb_quarantine") == [("huge", size, None)]
    assert database.value("select reason from v1.couchdb_quarantine").startswith("The document has 300.0 MB")
    assert kept(database) == (size, sent.hexdigest())
    assert [name for (name,) in database.rows("select _id from v1.couchdb order by _id")] == NEIGHBOURS
    assert database.rows("select seq, pending from v1.couchdb_progress") == [(str(len(IDS)), 0)]
    print(f"\n{found['seconds']:.1f} s, {found['peak_mb']:.0f} MB at most.")
    assert found["peak_mb"] < 250


def test_a_document_above_the_cap_of_a_real_server(couchdb_server, database, monkeypatch):
    """The same with 7 MB, CouchDB taking 8 MB by default, of which CHT_SYNC_MAX_MB allows two."""
    session, place = requests.Session(), mine("huge-document")
    url = f"{couchdb_server.url}/{place}"
    session.auth = couchdb_server.auth
    session.put(url).raise_for_status()
    text = BLOCK.decode() * 7
    documents = [{"_id": name, "text": text if name == "huge" else "small"} for name in IDS]
    session.post(f"{url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE).raise_for_status()
    settings = {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
        "CHT_SYNC_MAX_MB": "2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    CouchDBToPostgresOperator(task_id="sync", database=place).execute({})
    body = session.get(f"{url}/huge").content
    assert kept(database) == (len(body), hashlib.sha256(body).hexdigest())
    assert [name for (name,) in database.rows("select _id from v1.couchdb order by _id")] == NEIGHBOURS
