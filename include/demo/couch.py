"""The few requests to a CouchDB-protocol server that the demo needs; shares nothing with the sync on purpose."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import requests

from include.demo.errors import DemoError

Doc = dict[str, Any]
TIMEOUT_SECONDS = 120
# What CouchDB 3 gives every new database; other servers let visitors read theirs.
ADMINS_ONLY = {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}


class Couch:
    """A CouchDB-protocol server, reached through one connection."""

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        """Describe a server; no request is made yet.

        :param url: address of the server without credentials.
        :param auth: user and password.
        """
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = auth

    def call(self, method: str, path: str, accept: Iterable[int] = (), body: Any = None, **params: Any) -> Any:
        """Make a request and return the answer's JSON, or None for a status in `accept`.

        :param method: HTTP method.
        :param path: path below the server's address, quoted where needed.
        :param accept: statuses of 400 and more that are no error here.
        :param body: sent as JSON unless None.
        :param params: query parameters; values that are no text are sent as JSON.
        :raises DemoError: no answer, or another status of 400 and more.
        """
        query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
        headers = {"Content-Type": "application/json"}
        # UTF-8 as it is and no blanks: three fifths of the bytes for text in Devanagari or Amharic.
        data = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            answer = self._session.request(
                method, f"{self.url}/{path}", params=query, data=data, headers=headers, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise DemoError(f"The CouchDB server at {self.url} does not answer: {error}") from error
        if answer.status_code in accept:
            return None
        if not answer.ok:
            raise DemoError(
                f"{method} {self.url}/{path} gave {answer.status_code}: {answer.text.strip()[:300]} "
                "(check address, user and password)"
            )
        try:
            return answer.json()
        except ValueError as error:
            raise DemoError(f"{method} {self.url}/{path} gave no JSON; is it a CouchDB server?") from error

    def create_database(self, name: str) -> None:
        """Create a database for administrators only, unless it exists."""
        if self.call("PUT", name, accept=(412,)) is not None:
            self.call("PUT", f"{name}/_security", body=ADMINS_ONLY)

    def write(self, database: str, docs: list[Doc]) -> dict[str, str]:
        """Write documents by `_bulk_docs` and return the new revision by id; conflicts are left out.

        :raises DemoError: the server refused a document for another reason than a conflict.
        """
        written = {}
        for row in self.call("POST", f"{database}/_bulk_docs", body={"docs": docs}) if docs else []:
            if "rev" in row and "error" not in row:
                written[row["id"]] = row["rev"]
            elif row.get("error") != "conflict":
                raise DemoError(f"{self.url}/{database} refused document {row.get('id')}: {row}")
        return written

    def states(self, database: str, ids: list[str]) -> dict[str, str | None]:
        """Return for each id that the database knows its revision, or None where it is deleted."""
        answer = self.call("POST", f"{database}/_all_docs", body={"keys": ids})
        return {
            row["key"]: None if row["value"].get("deleted") else row["value"]["rev"]
            for row in answer["rows"]
            if "error" not in row
        }

    def documents(self, database: str, page: int = 1000) -> Iterator[Doc]:
        """Yield every document that is not deleted, in the order of ids.

        :param database: name of the database.
        :param page: documents per request.
        """
        start: dict[str, Any] = {}
        while True:
            answer = self.call("GET", f"{database}/_all_docs", include_docs=True, limit=page, **start)
            yield from (row["doc"] for row in answer["rows"])
            if len(answer["rows"]) < page:
                return
            # The start key itself was on this page. It is JSON, an id being a text.
            start = {"startkey": json.dumps(answer["rows"][-1]["id"]), "skip": 1}

    def deleted_ids(self, database: str, page: int = 5000) -> set[str]:
        """Return the ids of the deleted documents.

        :param database: name of the database.
        :param page: changes per request.
        """
        deleted: set[str] = set()
        since: Any = "0"
        while True:
            answer = self.call("GET", f"{database}/_changes", limit=page, since=since)
            for row in answer["results"]:
                (deleted.add if row.get("deleted") else deleted.discard)(row["id"])
            if not answer["results"]:
                return deleted
            since = answer["last_seq"]
