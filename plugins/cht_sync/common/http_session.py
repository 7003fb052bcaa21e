"""The HTTP session that every server is asked with: it follows nothing, and gives up on answers that drip."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests

from cht_sync.common.slow_answers import WatchedAdapter

REDIRECTS = {301, 302, 303, 307, 308}


class HttpSession(requests.Session):
    """A session of requests to which a redirect is an answer as any other.

    ``allow_redirects=False`` is not enough: requests reads the body of a redirect into memory all the same, whatever
    its size.

    :param connections: to keep open for each server.
    """

    def __init__(self, connections: int = 1) -> None:
        super().__init__()
        # What each piece is unpacked from is bounded in urllib3; other encodings it may know are not asked for.
        self.headers["Accept-Encoding"] = "gzip, deflate"
        adapter = WatchedAdapter(pool_connections=2, pool_maxsize=connections)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Says that there is none; see ``requests``."""


def place_of(response: requests.Response) -> str:
    """The server that a redirect leads to, for people."""
    try:
        found = urlsplit(urljoin(response.url, response.headers.get("Location", "")))
    except ValueError:
        return "nowhere"
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}"[:200]
