"""Asks servers of dbt projects over http(s): where a redirect leads elsewhere, no credentials go along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from cht_sync.common.http_session import REDIRECTS, HttpSession
from cht_sync.common.slow_answers import FEWEST_BYTES, Watch
from cht_sync.dbt.project.source import Source
from cht_sync.errors import SettingsError
from cht_sync.redaction import without_secrets

TIMEOUT_S = (10, 60)
# Seconds in which 256 KB have to come, or the end; and in which all has to come.
SLOW_S = 120.0
MOST_S = 900.0
MOST_REDIRECTS = 5
PORTS = {"http": 80, "https": 443}


@contextmanager
def opened(
    source: Source, url: str, query: Mapping[str, str] | None = None, guarded: bool | None = None
) -> Iterator[tuple[requests.Response, Watch]]:
    """The answer to a GET, its body not read yet, and what watches over its speed.

    Redirects are followed here, each by a request with nothing of the one before.

    :param guarded: whether no redirect may lead to another server, by default where there are credentials.
    :raises SettingsError: if a redirect leads where it may not, or the server cannot be reached or is too slow.
    """
    auth = (source.user, source.password) if source.has_credentials else None
    with HttpSession() as session, Watch(SLOW_S) as watch:
        try:
            for _ in range(MOST_REDIRECTS + 1):
                with session.get(url, params=query, auth=auth, stream=True, timeout=TIMEOUT_S) as answer:
                    if answer.status_code not in REDIRECTS:
                        yield answer, watch
                        return
                    url = _next(source, url, answer, auth is not None if guarded is None else guarded)
                query = None
        except (requests.RequestException, ConnectionError, TimeoutError) as error:
            raise _unreachable(source, error, watch) from None
    raise source.refusal(f"its server answers with more than {MOST_REDIRECTS} redirects", "downloaded")


def followed(source: Source, url: str, query: Mapping[str, str]) -> str:
    """Where the server of a repository leads to; a SettingsError if to another server, which gets no credentials."""
    with opened(source, url, query, guarded=True) as (answer, _):
        return answer.url


def _next(source: Source, url: str, answer: requests.Response, guarded: bool) -> str:
    try:
        found = urljoin(url, answer.headers.get("Location", ""))
        before, after = urlsplit(url), urlsplit(found)
        same, usable = _is_same(before, after), after.scheme in PORTS and after.hostname
    except ValueError:
        usable = None
    if not usable:
        raise source.refusal(f"its server answers {answer.status_code} with no address to go to", "downloaded")
    if guarded and not same:
        raise source.refusal(
            f"{_server(before)} leads to {_server(after)} by a redirect, where the user name, password or token for"
            f" {before.hostname} must not go. Where it is the right place, give {source.setting} the address there,"
            " with credentials for it"
        )
    return found


def _is_same(before: SplitResult, after: SplitResult) -> bool:
    """Whether two addresses are of one server: http and https, in this order, on their own ports count as one."""
    ports = before.port or PORTS.get(before.scheme), after.port or PORTS.get(after.scheme)
    if before.hostname != after.hostname:
        return False
    upgraded = (before.scheme, after.scheme) == ("http", "https") and ports == (80, 443)
    return upgraded or (before.scheme == after.scheme and ports[0] == ports[1])


def _server(address: SplitResult) -> str:
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"


def _unreachable(source: Source, error: Exception, watch: Watch) -> SettingsError:
    if watch.expired:
        return source.refusal(f"not even {FEWEST_BYTES // 1024} KB came in {watch.seconds:g} s", "downloaded")
    reason = without_secrets(type(error).__name__, source.secrets)
    return SettingsError(f"{source.text} cannot be downloaded: {reason}; is the host reachable?")
