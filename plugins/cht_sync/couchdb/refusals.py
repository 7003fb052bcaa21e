"""What an answer without status 200 means: trouble that passes, or a refusal for good."""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime

import requests

from cht_sync.common.http_session import REDIRECTS, place_of
from cht_sync.errors import BrokenAnswerError, CouchDBError, NodeDownError, RequestRefusedError

LONGEST_RETRY_AFTER = 120.0  # seconds
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
# A server or the proxy before it gave up on what was asked: less of it may come through.
TOO_MUCH_AT_ONCE = {408, 500, 504}
# In CouchDB's words: no copy of some shard can be reached. With 412 or 500, by what was asked for. Not all_workers_died
# and read_failure, which may be one document's fault: whoever asks for one finds out.
# Source: https://github.com/apache/couchdb/blob/main/src/chttpd/src/chttpd.erl
_UNREACHABLE = re.compile("nodedown|maintenance[_ ]mode|progress not possible")
_NODE = re.compile(r"[\w.-]+@[\w.:-]*\w")
_ADVICE = {
    401: "check COUCHDB_USER and COUCHDB_PASSWORD, or login and password of connection {!r}",
    403: "give the user of connection {!r} the right to read it",
    404: "correct COUCHDB_DBS, or 'databases' in the extra of connection {!r}",
}
# Source: https://docs.couchdb.org/en/stable/config/auth.html#chttpd_auth_lockout
_LOCKED = (
    "after several wrong passwords it refuses the right one, too, for a few minutes: correct COUCHDB_PASSWORD, or the"
    " password of connection {!r}, and wait until then"
)


class TooEarlyError(CouchDBError):
    """Worth another try, not before ``after`` seconds, since the server said so."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


def refused(response: requests.Response, server: str, subject: str, conn_id: str) -> Exception:
    """The error that an answer without status 200 stands for: a CouchDBError where another try may help."""
    status = response.status_code
    name, reason = _said(response)
    said = f"{name}: {reason}" if name else reason
    if status in REDIRECTS:
        return RequestRefusedError(
            f"{server} leads to {place_of(response)} by a redirect with {status} ({said}) in place of {subject}; user"
            " and password must not go there: correct COUCHDB_HOST, COUCHDB_PORT and COUCHDB_SECURE, or connection"
            f" {conn_id!r}.",
            status,
            reason,
        )
    if name and is_unreachable(status, said):
        return node_down(f"{server} answered {status}", said, _retry_after(response))
    text = f"{server} answered {status} ({said})."
    if status in TRANSIENT and (after := _retry_after(response)):
        return TooEarlyError(text, after)
    if status in TRANSIENT:
        return BrokenAnswerError(text) if status in TOO_MUCH_AT_ONCE else CouchDBError(text)
    if status == 403 and "locked" in reason:
        return RequestRefusedError(
            f"{server} refused {subject} with {status} ({said}): {_LOCKED.format(conn_id)}.", status, reason
        )
    advice = _ADVICE.get(status, "check COUCHDB_HOST, COUCHDB_PORT and COUCHDB_SECURE").format(conn_id)
    return RequestRefusedError(f"{server} refused {subject} with {status} ({said}): {advice}.", status, reason)


def is_unreachable(status: int, said: str) -> bool:
    """Whether a cluster says, as of a document among others with 200, that no copy of something can be reached."""
    return (status == 412 and said.startswith("nodedown")) or (
        status in {200, 500, 503} and _UNREACHABLE.search(said) is not None
    )


def node_down(what: str, said: str, after: float = 0.0) -> NodeDownError:
    """The error that stands for a part of a cluster that cannot be reached."""
    found = _NODE.search(said)
    node = f"node {found[0]}" if found else "a node"
    return NodeDownError(
        f"{what} ({said}): {node} of the cluster is down or in maintenance mode, and no other has what was asked for."
        " Start it, or set [couchdb] maintenance_mode of it to false; the copy then goes on by itself.",
        after,
    )


def _said(response: requests.Response) -> tuple[str, str]:
    """Error and reason in CouchDB's words; without an error where no CouchDB speaks."""
    try:
        said = json.loads(next(response.iter_content(64 * 1024), b""))
        name, reason = str(said["error"]), str(said["reason"])
    except (ValueError, KeyError, TypeError, RecursionError, requests.exceptions.RequestException):
        return "", (response.reason or "no reason given")[:300]
    return " ".join(name[:100].split()), " ".join(reason[:200].split())


def _retry_after(response: requests.Response) -> float:
    """Seconds that ``Retry-After`` asks for, as a number or as a date.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    value = response.headers.get("Retry-After", "").strip()
    try:
        if value.isascii() and value.isdigit():
            seconds = float(value)
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return max(0.0, min(seconds, LONGEST_RETRY_AFTER))
