"""``python -m include.demo.live``: fills a CouchDB once and goes on living in it, for the compose profile ``local``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.fill import FillReport, fill
from include.demo.touch import touch

T = TypeVar("T")
PATIENCE_S = 120.0
RETRY_S = 5.0
# A new CouchDB 3 lacks them, and says so every few seconds.
# Source: https://docs.couchdb.org/en/stable/setup/single-node.html
SYSTEM_DATABASES = ("_users", "_replicator")


def live(url: str, auth: tuple[str, str], documents: int, pause: float, rounds: int | None = None) -> int:
    """Fills the server, then edits, deletes and creates a few documents again and again.

    :param url: address of the server without credentials.
    :param auth: user and password of an administrator.
    :param documents: documents of the filled deployment.
    :param pause: seconds between two rounds.
    :param rounds: how many; None for no end.
    :return: documents that were touched.
    :raises DemoError: the server refuses a document, or does not answer for two minutes.
    """
    report = _patiently(lambda: _begin(url, auth, documents))
    print(f"{report.documents} documents written." if not report.already_filled else "Filled already.", flush=True)
    touched, done = 0, 0
    while rounds is None or done < rounds:
        time.sleep(pause)
        changed = _patiently(lambda: touch(url, auth))
        touched += len(changed.edits) + len(changed.deletes) + len(changed.creates)
        done += 1
    return touched


def _begin(url: str, auth: tuple[str, str], documents: int) -> FillReport:
    """Goes on with what an interrupted call has left."""
    couch = Couch(url, auth)
    for name in SYSTEM_DATABASES:
        # CouchDB refuses to change who may see _users.
        # Source: https://docs.couchdb.org/en/stable/config/couchdb.html#couchdb/users_db_security_editable
        couch.call("PUT", name, accept=(412,))
    return fill(url, auth, documents)


def _patiently(call: Callable[[], T]) -> T:
    """Tries again for a while: a server that restarts does not answer, and says odd things as it comes up."""
    began = time.monotonic()
    while True:
        try:
            return call()
        except DemoError as error:
            if time.monotonic() - began > PATIENCE_S:
                raise
            print(f"Another try in {RETRY_S:g} s: {error}", flush=True)
            time.sleep(RETRY_S)


if __name__ == "__main__":
    environ = os.environ
    # An end that was asked for is no failure: `docker compose stop` shows 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    live(
        f"http://{environ['COUCHDB_HOST']}:{environ.get('COUCHDB_PORT') or 5984}",
        (environ["COUCHDB_USER"], environ["COUCHDB_PASSWORD"]),
        int(environ.get("DOCUMENTS") or 20_000),
        60.0,
    )
