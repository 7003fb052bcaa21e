"""``python -m include.demo.live``: fills a CouchDB once and goes on living in it, for the compose profile ``local``."""

from __future__ import annotations

import os
import time

from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.fill import fill
from include.demo.touch import touch

PATIENCE_S = 120.0
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
    couch = Couch(url, auth)
    for name in SYSTEM_DATABASES:
        couch.create_database(name)
    report = fill(url, auth, documents)
    print(f"{report.documents} documents written." if not report.already_filled else "Filled already.", flush=True)
    touched, done, heard = 0, 0, time.monotonic()
    while rounds is None or done < rounds:
        time.sleep(pause)
        try:
            changed = touch(url, auth)
        except DemoError:
            if time.monotonic() - heard > PATIENCE_S:
                raise
            continue
        touched += len(changed.edits) + len(changed.deletes) + len(changed.creates)
        done, heard = done + 1, time.monotonic()
    return touched


if __name__ == "__main__":
    environ = os.environ
    live(
        f"http://{environ['COUCHDB_HOST']}:{environ.get('COUCHDB_PORT') or 5984}",
        (environ["COUCHDB_USER"], environ["COUCHDB_PASSWORD"]),
        int(environ.get("DOCUMENTS") or 20_000),
        60.0,
    )
