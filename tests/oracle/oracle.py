"""Tells whether Postgres holds what CouchDB holds; shares no code with the sync, so that it shares no error.

The promise it checks, for a source whose feed is drained: for every document Postgres holds the winning revision,
its tombstone flag and its exact content (of a tombstone the stub, or all of it where that is wanted), in the table of
documents or, where another source owns the ``_id``, in ``couchdb_collision`` (the owner is the first in the order of the
sources that lives); or the document has an open entry in ``couchdb_quarantine`` with its bytes and the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import quote

import psycopg2
import requests
from psycopg2 import sql

from tests.oracle.json_values import Members, Unreadable, first_difference, flatten, parse, parse_text

BATCH = 1000
USER_PREFIX = "org.couchdb.user:"
SECRET_FIELDS = {"password_scheme", "derived_key", "salt", "iterations", "pbkdf2_prf"}
# An index entry holds 2704 bytes; whether a longer text fits depends on how well it compresses.
LONG_ID = 2000
LARGE_BODY = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class State:
    """The newest state of one document as CouchDB has it.

    :param id: exact, lone surrogates included.
    :param rev: the winning revision.
    :param deleted: whether that is a tombstone.
    :param doc: its content, from :func:`tests.oracle.json_values.parse`.
    :param raw: its exact bytes where they are known.
    """

    id: str
    rev: str
    deleted: bool
    doc: Any
    raw: bytes | None = None

    @classmethod
    def of_bytes(cls, id: str, rev: str, deleted: bool, raw: bytes) -> State:
        """A state whose body is known byte by byte."""
        return cls(id, rev, deleted, parse(raw), raw)


class States(Protocol):
    """Where expected states come from: a server, or a model of one."""

    @property
    def ids(self) -> Collection[str]:
        """Every id that was ever written, those of tombstones included."""

    def batches(self) -> Iterable[list[State]]:
        """Every document once, in batches that fit in memory."""


@dataclass(slots=True)
class Verdict:
    """What a comparison found: how many documents were compared, and a line for each difference."""

    documents: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.documents} documents, {len(self.differences)} differences", *self.differences])


class ServerContradictsItself(Exception):
    """Listing and changes feed of a database disagree: it is being written, or the server is broken."""


class CouchDB:
    """The states of a database on a server; believes its feed only where listing and count agree with it.

    :param url: address of the server.
    :param auth: user and password.
    :param database: name of the database.
    :param session: requests session to use, else one of its own.
    """

    def __init__(self, url: str, auth: tuple[str, str], database: str, session: requests.Session | None = None) -> None:
        self._url, self._auth = f"{url.rstrip('/')}/{quote(database, safe='')}", auth
        self._session = session or requests.Session()

    @property
    def ids(self) -> Collection[str]:
        return self._winners.keys()

    @cached_property
    def _winners(self) -> dict[str, tuple[str, bool]]:
        """Winning revision and tombstone flag by id."""
        winners: dict[str, tuple[str, bool]] = {}
        since: Any = "0"
        while True:
            page = self._ask("GET", "_changes", {"since": since, "limit": 10 * BATCH})
            for row in map(dict, page["results"]):
                winners[row["id"]] = (dict(row["changes"][0])["rev"], row.get("deleted") is True)
            if not page["results"] or page.get("pending") == 0:
                return winners
            since = page["last_seq"]

    def batches(self) -> Iterator[list[State]]:
        live = [id for id, (_, deleted) in self._winners.items() if not deleted]
        deleted = [id for id, (_, deleted) in self._winners.items() if deleted]
        # Not a walk through the listing: pouchdb-server ends it before ids that begin beyond U+FFFF.
        counted = self._ask("GET", "", {})["doc_count"]
        if counted != len(live):
            raise ServerContradictsItself(f"it counts {counted} live documents, but its feed has {len(live)}")
        for begin in range(0, len(live), BATCH):
            yield self._live(live[begin : begin + BATCH])
        for begin in range(0, len(deleted), BATCH):
            yield self._tombstones(deleted[begin : begin + BATCH])

    def _live(self, ids: list[str]) -> list[State]:
        rows = map(dict, self._ask("POST", "_all_docs", {"include_docs": "true"}, {"keys": ids})["rows"])
        states = []
        for id, row in zip(ids, rows, strict=True):
            rev = dict(row["value"])["rev"] if "value" in row else None
            if rev != self._winners[id][0] or row.get("doc") is None:
                raise ServerContradictsItself(f"{id!r}: listed {rev}, in the feed {self._winners[id][0]}")
            states.append(State(id, rev, False, row["doc"]))
        return states

    def _tombstones(self, ids: list[str]) -> list[State]:
        # By id and revision in a body: not every id can be part of an address.
        wanted = [{"id": id, "rev": self._winners[id][0]} for id in ids]
        answer = self._ask("POST", "_bulk_get", {}, {"docs": wanted})
        bodies = {}
        for result in map(dict, answer["results"]):
            bodies[result["id"]] = dict(result["docs"][0]).get("ok")
        missing = [id for id in ids if bodies.get(id) is None]
        if missing:
            raise ServerContradictsItself(f"no body for the tombstones {missing}")
        return [State(id, self._winners[id][0], True, bodies[id]) for id in ids]

    def _ask(self, method: str, path: str, params: dict[str, Any], body: Any = None) -> dict[str, Any]:
        response = self._session.request(
            method, f"{self._url}/{path}".rstrip("/"), params=params, json=body, auth=self._auth, timeout=120
        )
        response.raise_for_status()
        # What is no UTF-8 becomes lone surrogates, so that one odd body does not hide the others.
        answer = parse_text(response.content.decode(errors="surrogateescape"))
        if isinstance(answer, Unreadable):
            raise ServerContradictsItself(f"{path}: {answer.why}")
        return dict(answer)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored document."""

    place: str
    source: str
    deleted: bool | None
    doc: str | None
    stamped: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """An open entry of the quarantine."""

    id: str | None
    rev: str | None
    body: bytes | None
    size: int | None
    reason: str | None


class Postgres:
    """The stored side; tables that are not there count as empty.

    :param connection: an open psycopg2 connection; sees what its own transaction wrote.
    :param source: name of the source.
    :param schema: schema of the tables.
    :param table: name of the table of documents.
    :param order: names of the sources, the one that comes first where several hold the same ``_id`` in front.
    """

    def __init__(
        self, connection: Any, source: str, schema: str = "v1", table: str = "couchdb", order: Sequence[str] = ()
    ) -> None:
        self._connection, self.source, self._table, self.order = connection, source, table, order
        self._schema = schema
        self._tables = {name for (name,) in self._all("select tablename from pg_tables where schemaname = %s", schema)}

    def owners(self, ids: list[str]) -> dict[str, Row]:
        """Rows of the table of documents, whoever owns them."""
        rows = self._rows(
            self._table, "select _id, source, _deleted, doc::text, saved_timestamp from {} where _id = any(%s)", ids
        )
        return {id: Row(self._table, source, deleted, doc, bool(at)) for id, source, deleted, doc, at in rows}

    def collisions(self, ids: list[str]) -> dict[str, Row]:
        """Rows of this source whose ids another source owns."""
        rows = self._rows(
            "couchdb_collision",
            "select _id, source, _deleted, doc::text, saved_timestamp from {} where _id = any(%s) and source = %s",
            ids,
            self.source,
        )
        return {id: Row("couchdb_collision", source, deleted, doc, bool(at)) for id, source, deleted, doc, at in rows}

    def entries(self, keys: list[bytes]) -> dict[bytes, Entry]:
        """Open entries of the quarantine."""
        parts: dict[bytes, bytes] = {
            bytes(key): bytes(rest)
            for key, rest in self._rows(
                "couchdb_quarantine_part",
                "select key, string_agg(body, '' order by part) from {} where key = any(%s) and source = %s group by 1",
                keys,
                self.source,
            )
        }
        rows = self._rows(
            "couchdb_quarantine",
            "select key, _id, _rev, body, body_bytes, reason from {}"
            " where key = any(%s) and source = %s and resolved_at is null",
            keys,
            self.source,
        )
        return {
            bytes(key): Entry(id, rev, None if body is None else bytes(body) + parts.get(bytes(key), b""), size, reason)
            for key, id, rev, body, size, reason in rows
        }

    def all_ids(self) -> Iterator[tuple[str, str]]:
        """Table and id of each row of the source."""
        for table in (self._table, "couchdb_collision"):
            for (id,) in self._rows(table, "select _id from {} where source = %s", self.source):
                yield table, id

    def all_entries(self) -> Iterator[tuple[bytes, str]]:
        """Key and shown id of each open entry."""
        for key, id in self._rows(
            "couchdb_quarantine", "select key, _id from {} where source = %s and resolved_at is null", self.source
        ):
            yield bytes(key), id

    def _rows(self, table: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if table not in self._tables:
            return []
        return self._all(sql.SQL(query).format(sql.Identifier(self._schema, table)), *values)

    def _all(self, query: Any, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()


@dataclass(slots=True)
class Expected:
    """What may be stored of a document.

    :param contents: flattened, each as good as the other.
    :param refused: why it cannot be stored.
    :param doubtful: why it need not be stored.
    """

    contents: list[list[Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)


def key_of(id: str) -> bytes:
    """The key of the quarantine: of the exact id, whatever a text can hold of it."""
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()


def storable_id(id: str) -> bool:
    """Whether a ``varchar`` can hold the id as it is."""
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in id)


def shown_id(id: str) -> str:
    """The id with JSON escapes for what a ``varchar`` cannot hold, and then for backslashes too."""
    if storable_id(id):
        return id
    return "".join(each.replace("\\", "\\\\") if storable_id(each) else f"\\u{ord(each):04x}" for each in id)


def expectation(state: State) -> Expected:
    """What Postgres may hold of a document.

    :param state: of the document.
    """
    expected = Expected()
    if not storable_id(state.id):
        expected.refused.add("an _id that no text can hold")
    if len(state.id.encode("utf-8", "surrogatepass")) > LONG_ID:
        expected.doubtful.add("a long _id")
    if state.raw is not None and len(state.raw) > LARGE_BODY:
        expected.doubtful.add("a large body")
    doc = state.doc
    if isinstance(doc, Unreadable) and state.raw is not None and state.id.startswith(USER_PREFIX):
        # The odd bytes may be in what is not stored of a user.
        doc = parse_text(state.raw.decode(errors="surrogateescape"))
    if isinstance(doc, Unreadable):
        expected.refused.add(doc.why)
    elif not isinstance(doc, Members):
        expected.refused.add("no JSON object")
    else:
        _expect_object(state.id, doc, expected)
    return expected


def _expect_object(id: str, doc: Members, expected: Expected) -> None:
    variants = _stored_variants(id, doc)
    for variant in variants:
        flat = flatten(variant, without_nul=True)
        expected.doubtful |= flat.doubtful
        if flat.refused:
            expected.refused |= flat.refused
        else:
            expected.contents.append(flat.tokens)
    if expected.contents and (whole := flatten(doc, without_nul=True)).refused:
        # Only what is not stored is at fault; that need not be seen.
        expected.doubtful |= whole.refused
    if not storable_id(id):
        expected.contents = []


def _stored_variants(id: str, doc: Members) -> list[Members]:
    """The document without password material, by the names and the type that would be stored."""
    if not id.startswith(USER_PREFIX):
        return [doc]
    kinds = [value for name, value in doc if name.replace("\0", "") == "type"]
    kind = kinds[-1].replace("\0", "") if kinds and isinstance(kinds[-1], str) else None
    stripped = Members((name, value) for name, value in doc if not _is_secret(name.replace("\0", "")))
    if kind == "user":
        return [stripped]
    # A document that does not say what it is may be a user's: to strip it is as good.
    return [doc] if kind is not None else [doc, stripped]


def _is_secret(name: str) -> bool:
    return name in SECRET_FIELDS or name.startswith("password")


def stub_of(state: State) -> State:
    """A tombstone of which nothing is left but that it is one.

    :param state: of a deleted document.
    """
    return State(state.id, state.rev, True, Members([("_id", state.id), ("_rev", state.rev), ("_deleted", True)]))


def compare_states(states: States, postgres: Postgres, *, tombstone_bodies: bool = False) -> Verdict:
    """Compares every document of a source with what is stored.

    :param states: what CouchDB has, from a server or a model.
    :param postgres: what is stored.
    :param tombstone_bodies: whether deleted documents are to be stored with all their fields, or as stubs.
    """
    verdict = Verdict()
    for read in states.batches():
        batch = [stub_of(state) if state.deleted and not tombstone_bodies else state for state in read]
        verdict.documents += len(batch)
        ids = [state.id for state in batch if storable_id(state.id)]
        owners, collisions = postgres.owners(ids), postgres.collisions(ids)
        entries = postgres.entries([key_of(state.id) for state in batch])
        for state in batch:
            found = _Found(
                postgres.source,
                owners.get(state.id),
                collisions.get(state.id),
                entries.get(key_of(state.id)),
                postgres.order,
            )
            verdict.differences += (
                f"{state.id[:80]!a} {state.rev}{' (tombstone)' if state.deleted else ''}: {each}"
                for each in (*found.misplaced(), *found.wrong(state, expectation(state)))
            )
    known = states.ids
    verdict.differences += (
        f"{id[:80]!a}: is in {table}, but CouchDB does not know it"
        for table, id in postgres.all_ids()
        if id not in known
    )
    keys = {key_of(id) for id in known}
    verdict.differences += (
        f"{id!a}: is open in the quarantine, but CouchDB does not know it"
        for key, id in postgres.all_entries()
        if key not in keys
    )
    return verdict


@dataclass(frozen=True, slots=True)
class _Found:
    """All that Postgres holds of one document of one source."""

    source: str
    owner: Row | None
    collision: Row | None
    entry: Entry | None
    order: Sequence[str] = ()

    def misplaced(self) -> Iterator[str]:
        if self.collision is None:
            return
        if self.owner is None:
            yield "is in couchdb_collision, but nobody owns the _id"
        elif self.owner.source == self.source:
            yield "is stored twice, as the owner's row and in couchdb_collision"
        elif self.owner.deleted and not self.collision.deleted:
            yield f"is live in couchdb_collision beside a tombstone of {self.owner.source}"
        elif self.owner.deleted is self.collision.deleted and self._place(self.source) < self._place(self.owner.source):
            yield f"is in couchdb_collision, but comes before {self.owner.source}"

    def _place(self, source: str) -> int:
        return self.order.index(source) if source in self.order else len(self.order)

    @property
    def row(self) -> Row | None:
        return self.owner if self.owner and self.owner.source == self.source else self.collision

    def wrong(self, state: State, expected: Expected) -> Iterator[str]:
        stored_wrong = _row_wrong(self.row, state, expected.contents)
        if self.entry is None:
            if stored_wrong:
                reasons = ", ".join(sorted(expected.refused | expected.doubtful))
                yield f"{stored_wrong}; not in the quarantine either{f' ({reasons})' if reasons else ''}"
            return
        # What is stored of a tombstone may be its stub, which can be all there is to store.
        if not stored_wrong and not (state.deleted and expected.doubtful):
            yield f"is stored, but open in the quarantine ({self.entry.reason})"
            return
        if not expected.refused and not expected.doubtful:
            yield f"is in the quarantine ({self.entry.reason}), but can be stored; {stored_wrong}"
        yield from _entry_wrong(self.entry, state)
        if self.row and not state.deleted and _rev(self.row) == state.rev:
            yield f"is in the quarantine, and stored otherwise at that revision: {stored_wrong}"
        if state.deleted and storable_id(state.id) and "a long _id" not in expected.doubtful:
            stub_wrong = _row_wrong(self.row, state, [flatten(stub_of(state).doc).tokens])
            if stub_wrong:
                yield f"is in the quarantine, but has no stub: {stub_wrong}"


def _rev(row: Row) -> str | None:
    doc = parse_text(row.doc) if row.doc is not None else None
    return doc.last().get("_rev") if isinstance(doc, Members) else None


def _row_wrong(row: Row | None, state: State, contents: list[list[Any]]) -> str:
    """What is wrong with a stored row; nothing where it is one of the contents."""
    if row is None:
        return "is not stored"
    if row.doc is None:
        return f"has no doc in {row.place}"
    found, wrong = flatten(parse_text(row.doc)).tokens, ""
    if isinstance(state.doc, Members) and "_rev" in state.doc.last() and _rev(row) != state.rev:
        wrong = f"has revision {_rev(row)}"
    elif row.deleted is not state.deleted:
        wrong = f"has _deleted {row.deleted}"
    elif not row.stamped:
        wrong = "has no saved_timestamp"
    elif not contents:
        wrong = "has content, though it cannot be stored,"
    elif found not in contents:
        wrong = f"has other content, {first_difference(contents[0], found)},"
    return wrong and f"{wrong} in {row.place}"


def _entry_wrong(entry: Entry, state: State) -> Iterator[str]:
    if (entry.id or "").lower() != shown_id(state.id).lower():
        yield f"is in the quarantine as {entry.id!a}"
    if entry.rev != state.rev:
        yield f"is in the quarantine with revision {entry.rev}"
    if not (entry.reason or "").strip():
        yield "is in the quarantine without a reason"
    if entry.body is None or entry.size != len(entry.body):
        yield f"is in the quarantine with {len(entry.body or b'')} bytes of {entry.size}"
        return
    yield from (_user_body_wrong if state.id.startswith(USER_PREFIX) else _body_wrong)(entry.body, state)


def _body_wrong(body: bytes, state: State) -> Iterator[str]:
    if state.raw is not None and body.strip() == state.raw.strip():
        return
    found = parse(body)
    if state.raw is None and isinstance(found, Unreadable):
        # A server's answer that is no UTF-8 was read with lone surrogates in place of the odd bytes.
        found = parse_text(body.decode(errors="surrogateescape"))
    if isinstance(found, Unreadable) or isinstance(state.doc, Unreadable):
        yield "is in the quarantine with other bytes"
        return
    wanted, got = flatten(state.doc).tokens, flatten(found).tokens
    if got != wanted:
        yield f"is in the quarantine with other content, {first_difference(wanted, got)}"


def _user_body_wrong(body: bytes, state: State) -> Iterator[str]:
    """No password material here either; where it cannot be told apart, no bytes at all are the right ones."""
    if not body:
        return
    found = parse(body)
    if isinstance(found, Unreadable) or isinstance(state.doc, Unreadable):
        if any(name.encode() in body for name in (*SECRET_FIELDS, "password")):
            yield "is in the quarantine with what may be password material"
        return
    if not isinstance(state.doc, Members):
        yield from _body_wrong(body, state)
        return
    wanted = [flatten(each).tokens for each in _stored_variants(state.id, state.doc)]
    if (got := flatten(found).tokens) not in wanted:
        yield f"is in the quarantine with other content or password material, {first_difference(wanted[0], got)}"


def compare(
    couch_url: str,
    auth: tuple[str, str],
    database: str,
    source: str,
    dsn: str,
    schema: str = "v1",
    table: str = "couchdb",
    *,
    tombstone_bodies: bool = False,
) -> Verdict:
    """Compares one database of a CouchDB server with what Postgres holds of it.

    Nothing may be written to either side meanwhile.

    :param couch_url: address of the server.
    :param auth: user and password of CouchDB.
    :param database: name of the database.
    :param source: the ``source`` of its rows.
    :param dsn: libpq address of the Postgres database.
    :param schema: schema of the tables.
    :param table: name of the table of documents.
    :param tombstone_bodies: whether deleted documents are to be stored with all their fields, or as stubs.
    :raises ServerContradictsItself: if CouchDB's listing and its feed disagree.
    """
    with closing(psycopg2.connect(dsn)) as connection:
        states, stored = CouchDB(couch_url, auth, database), Postgres(connection, source, schema, table)
        return compare_states(states, stored, tombstone_bodies=tombstone_bodies)
