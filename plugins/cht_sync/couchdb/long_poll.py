"""Waits for what a server answers when something happens, and that says until then that it is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from cht_sync.couchdb.request import Request

# Proxies cut what is silent for 30 s, some sooner.
HEARTBEAT_S = 10.0
# After so many beats that do not come the server is taken for one that hangs.
SILENCE = 3


def wait(request: Request, seconds: float) -> bytes | bytearray | None:
    """Sends a request for the changes feed; None where nothing has happened in the time.

    CouchDB sends an empty line every few seconds, so that nothing between takes the connection for a dead one. Such an
    answer has no end of its own: it is left when the time is over.

    :raises CouchDBError: if the server shows no sign of life, or breaks off; as SettingsError if it refuses.
        Source: https://docs.couchdb.org/en/stable/api/database/changes.html#long-polling
    """
    beat = min(HEARTBEAT_S, seconds / (SILENCE + 1))
    until = time.monotonic() + seconds - beat
    was_left = False

    def read(chunks: Iterator[bytes]) -> bytearray:
        nonlocal was_left
        body = bytearray()
        for chunk in chunks:
            body += chunk
            # Each beat gives the occasion to look. Where a row has begun, the rest of it is on its way.
            if time.monotonic() >= until and body.rstrip()[-1:] in (b"", b"["):
                was_left = True
                break
        return body

    beats = {"feed": "longpoll", "heartbeat": max(1, round(beat * 1000))}
    options = {
        **request.options,
        "params": {**request.options["params"], **beats},
        # Compressed, the lines would wait in the server until there are enough of them.
        "headers": {"Accept-Encoding": "identity"},
    }
    timeouts = (request.timeouts[0], SILENCE * beat)
    body = replace(request, timeouts=timeouts, patience=2 * seconds, reader=read, options=options).send()
    return None if was_left else body
