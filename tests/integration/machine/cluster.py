"""A server with the habits of a CouchDB cluster, whose documents a test keeps byte by byte.

What it does that a single, well-behaved node does not:

- two shards in any order; a seq is opaque text, and every row but the last of an interval has none;
- it delivers at least once: a row twice in a page, a shard that goes back, an old state before the newest;
- rows without their document, in the three forms seen, and answers that end early with status 200;
- documents as they were stored, be they JSON or not;
- 412 while a node is down, 301 for the escaped slash of a design document, 400 for an address above 8 kB.
"""

from __future__ import annotations

import copy
import json
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit

from tests.oracle.oracle import State

CREATED = "1700000000"
SHARDS = 2
# The first line of a request, in CouchDB's own HTTP server.
LONGEST_LINE = 8192
NODE_DOWN = (412, b'{"error":"nodedown","reason":"couch2@127.0.0.1"}')


class Refusal(Exception):
    """An answer without status 200."""

    def __init__(self, status: int, body: bytes = b"", location: str = "") -> None:
        super().__init__(status)
        self.status, self.body, self.location = status, body, location


class Branch(NamedTuple):
    """One end of a document's revision tree.

    :param state: the document at that end.
    :param history: its revision and those that it comes from, the newest first.
    """

    state: State
    history: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The order in which CouchDB takes ends for the document."""
        return not self.state.deleted, int(self.state.rev.split("-")[0]), self.state.rev


class ClusterDatabase:
    """The documents of one database, and what befalls the next answers.

    :param name: of the database.
    :param seed: of the order in which shards answer.
    """

    #: Copies of each document, and when the database was made, as ``GET /{db}`` tells.
    copies = 1
    created = CREATED

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.docs: dict[str, State] = {}
        #: For each request of the feed: ``cut``, ``back``, ``twice``, ``bare`` or ``nodedown``; a good answer where it
        #: is empty.
        self.mishaps: deque[str] = deque()
        #: Seqs by time, as CouchDB 3.6 takes it for ``since``.
        self.moments: dict[str, str] = {}
        #: Ids that ``_purged_infos`` tells.
        self.purged: list[str] = []
        #: Ids of a shard of which no copy can be reached, while the database can be asked for all else.
        self.lost: set[str] = set()
        self._before: dict[str, State] = {}
        self._shards: list[list[State | None]] = [[] for _ in range(SHARDS)]
        self._places: dict[str, list[int]] = {}
        self.trees: dict[str, list[Branch]] = {}
        self._random = random.Random(seed)

    # --- what the test does --------------------------------------------------------------------

    def put(self, id: str, rev: str, raw: bytes, *, deleted: bool = False) -> None:
        """A revision that follows the one which the document is at, or its first."""
        tree = self.trees.get(id, [])
        onto = max(tree, key=lambda branch: branch.rank, default=None)
        history = (rev, *(onto.history if onto else ()))
        branches = [branch for branch in tree if branch is not onto]
        self.take(id, [*branches, Branch(State.of_bytes(id, rev, deleted, raw), history)])

    def branch(self, id: str, rev: str, raw: bytes, *, deleted: bool = False) -> None:
        """A revision that shares nothing with the others, as replication brings it."""
        self.take(id, [*self.trees.get(id, []), Branch(State.of_bytes(id, rev, deleted, raw), (rev,))])

    def take(self, id: str, tree: list[Branch]) -> None:
        """Has the document's revision tree be this one."""
        if id in self.docs:
            self._before[id] = self.docs[id]
        self.trees[id] = tree
        self.docs[id] = max(tree, key=lambda branch: branch.rank).state
        self._log(self.docs[id])

    def purge(self, id: str) -> None:
        """Forgets a document, without a change in the feed."""
        for shard in self._shards:
            shard[:] = [None if state and state.id == id else state for state in shard]
        self._places.pop(id, None)
        self._before.pop(id, None)
        del self.docs[id], self.trees[id]
        self.purged.append(id)

    def snapshot(self) -> ClusterDatabase:
        """The database as a backup has it."""
        return copy.deepcopy(self)

    def lag(self, id: str) -> None:
        """Has a copy that is behind deliver the state before, and a later one the newest again."""
        if id in self._before:
            self._log(self._before[id], self.docs[id])

    def _log(self, *states: State) -> None:
        id = states[-1].id
        shard = self._shards[sum(id.encode("utf-8", "surrogatepass")) % SHARDS]
        for place in self._places.get(id, ()):
            shard[place] = None
        self._places[id] = list(range(len(shard), len(shard) + len(states)))
        shard += states

    # --- what the oracle reads -----------------------------------------------------------------

    @property
    def ids(self) -> Collection[str]:
        return self.docs.keys()

    def batches(self) -> Iterator[list[State]]:
        yield list(self.docs.values())

    # --- what the server answers ---------------------------------------------------------------

    def info(self) -> bytes:
        """The answer of ``GET /{db}``."""
        deleted = sum(state.deleted for state in self.docs.values())
        return json.dumps(
            {
                "db_name": self.name,
                "doc_count": len(self.docs) - deleted,
                "doc_del_count": deleted,
                "update_seq": self._seq(tuple(map(len, self._shards))),
                "instance_start_time": self.created,
                "cluster": {"q": SHARDS, "n": self.copies, "w": 1, "r": 1},
            }
        ).encode()

    def changes(self, since: str, limit: int, interval: int, *, bodies: bool) -> bytes:
        """The answer of ``GET /{db}/_changes``."""
        mishap = self._mishap()
        now = tuple(map(len, self._shards))
        places = list(now if since == "now" else self.places(self.moments.get(since, since)))
        if mishap == "back":
            shard = self._random.randrange(SHARDS)
            places[shard] = max(0, places[shard] - self._random.randint(1, 5))
        rows: list[bytes] = []
        while len(rows) < limit and (state := self._next(places)):
            seq = self._seq(tuple(places)) if (len(rows) + 1) % interval == 0 else None
            rows.append(self._row(state, seq, bodies=bodies, bare=mishap == "bare" and self._random.random() < 0.5))
        if mishap == "twice" and rows:
            again = self._random.randrange(len(rows))
            rows.insert(again, rows[again])
        pending = sum(state is not None for n, log in enumerate(self._shards) for state in log[places[n] :])
        last = json.dumps(self._seq(tuple(places)))
        answer = b'{"results":[\r\n%s\r\n],\r\n"last_seq":%s,"pending":%d}\n' % (
            b",\r\n".join(rows),
            last.encode(),
            pending,
        )
        return answer[: self._random.randrange(len(answer) - 2)] if mishap == "cut" else answer

    def _mishap(self) -> str:
        mishap = self.mishaps.popleft() if self.mishaps else ""
        if mishap == "nodedown":
            raise Refusal(*NODE_DOWN)
        return mishap

    def _next(self, places: list[int]) -> State | None:
        waiting = [n for n, log in enumerate(self._shards) if any(log[places[n] :])]
        if not waiting:
            return None
        shard = self._random.choice(waiting)
        while True:
            state = self._shards[shard][places[shard]]
            places[shard] += 1
            if state:
                return state

    def _row(self, state: State, seq: str | None, *, bodies: bool, bare: bool) -> bytes:
        fields = [b'"seq":%s' % json.dumps(seq).encode(), b'"id":%s' % json.dumps(state.id).encode()]
        fields.append(b'"changes":[{"rev":"%s"}]' % state.rev.encode())
        if state.deleted:
            fields.append(b'"deleted":true')
        if bodies and not bare:
            assert state.raw is not None
            fields.append(b'"doc":%s' % state.raw)
        elif bodies:
            fields += self._random.choice([[], [b'"doc":null'], [b'"error":"timeout"']])
        return b"{%s}" % b",".join(fields)

    def mark(self, moment: str) -> None:
        """Remembers what the feed holds now by a time."""
        self.moments[moment] = self._seq(tuple(map(len, self._shards)))

    def _seq(self, places: tuple[int, ...]) -> str:
        """The number in front only says how far it is, as in CouchDB; the rest is what counts."""
        return f"{sum(places)}-g1AAAA{'x'.join(map(str, places))}_"

    def places(self, seq: str) -> tuple[int, ...]:
        """Where the feed goes on behind a seq; one of a state that a backup does not reach names nothing new."""
        if seq == "0":
            return (0,) * SHARDS
        found = map(int, seq.partition("AAAA")[2].rstrip("_").split("x"))
        return tuple(min(place, len(log)) for place, log in zip(found, self._shards, strict=True))

    def all_docs(self, keys: list[str], *, bodies: bool) -> bytes:
        """The answer of ``POST /{db}/_all_docs`` with ``keys``."""
        return b'{"total_rows":%d,"offset":0,"rows":[%s]}' % (
            len(self.docs),
            b",".join(self._listed(key, bodies=bodies) for key in keys),
        )

    def listing(self, query: dict[str, str]) -> bytes:
        """The answer of ``GET /{db}/_all_docs``: documents that are not deleted, in the order of their bytes."""
        start, end = (json.loads(query.get(name, "null")) for name in ("startkey", "endkey"))
        live = sorted((id for id, state in self.docs.items() if not state.deleted), key=_in_bytes)
        found = [
            id
            for id in live
            if (start is None or _in_bytes(id) >= _in_bytes(start)) and (end is None or _in_bytes(id) < _in_bytes(end))
        ]
        skip = int(query.get("skip", "0"))
        found = found[skip : skip + int(query.get("limit", "1000000"))]
        if query.get("include_docs") != "true":
            return self.all_docs(found, bodies=False)
        mishap = self._mishap()
        answer = self.all_docs(found, bodies=mishap != "bare")
        return answer[: self._random.randrange(len(answer) - 2)] if mishap == "cut" else answer

    def purged_infos(self) -> bytes:
        """The answer of ``GET /{db}/_purged_infos``."""
        return json.dumps({"purged_infos": [{"id": id, "revs": ["1-a"]} for id in self.purged]}).encode()

    def _listed(self, id: str, *, bodies: bool) -> bytes:
        key, state = json.dumps(id).encode(), self.docs.get(id)
        if state is None:
            return b'{"key":%s,"error":"not_found"}' % key
        doc = b',"doc":%s' % (b"null" if state.deleted else state.raw) if bodies else b""
        flag = b',"deleted":true' if state.deleted else b""
        return b'{"id":%s,"key":%s,"value":{"rev":"%s"%s}%s}' % (key, key, state.rev.encode(), flag, doc)

    def ends(self, wanted: list[dict[str, str]]) -> bytes:
        """The answer of ``POST /{db}/_bulk_get`` with ``revs=true``; of bodies nothing but their revisions."""
        return json.dumps({"results": [{"id": each["id"], "docs": self._ends(each["id"])} for each in wanted]}).encode()

    def _ends(self, id: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for state, history in self.tree(id):
            revisions = {"start": int(state.rev.split("-")[0]), "ids": [rev.split("-")[1] for rev in history]}
            flag = {"_deleted": True} if state.deleted else {}
            found.append({"ok": {"_id": id, "_rev": state.rev, "_revisions": revisions, **flag}})
        return found or [{"error": {"id": id, "rev": "undefined", "error": "not_found", "reason": "missing"}}]

    def tree(self, id: str) -> list[Branch]:
        """All ends of a document's revision tree."""
        return self.trees.get(id, [])

    def document(self, id: str, rev: str | None) -> bytes | None:
        """The answer of ``GET /{db}/{id}``; None where there is no such revision."""
        if id in self.lost:
            raise Refusal(500, b'{"error":"nodedown","reason":"progress not possible"}')
        ends = [branch.state for branch in self.tree(id)]
        for state in (self.docs.get(id), self._before.get(id), *ends):
            if state and (state.rev == rev or (rev is None and not state.deleted)):
                return state.raw
        return None

    def bulk_get(self, wanted: list[dict[str, str]]) -> bytes:
        """The answer of ``POST /{db}/_bulk_get``, its members in the order of CouchDB 3.5."""
        return b'{"results":[%s]}' % b",".join(self._leaf(each["id"], each["rev"]) for each in wanted)

    def _leaf(self, id: str, rev: str) -> bytes:
        name = json.dumps(id).encode()
        if id in self.lost:
            why = b'{"error":"internal_fabric_error","id":%s,"reason":"nodedown","rev":"%s"}' % (name, rev.encode())
            return b'{"docs":[{"error":%s}],"id":%s}' % (why, name)
        if (raw := self.document(id, rev)) is not None:
            return b'{"docs":[{"ok":%s}],"id":%s}' % (raw, name)
        error = b'{"error":"not_found","id":%s,"reason":"missing","rev":"%s"}' % (name, rev.encode())
        return b'{"docs":[{"error":%s}],"id":%s}' % (error, name)


def _in_bytes(id: str) -> bytes:
    return id.encode("utf-8", "surrogatepass")


class Cluster:
    """The server; databases are put into ``databases``."""

    def __init__(self) -> None:
        self.databases: dict[str, ClusterDatabase] = {}
        self.handler = type("Handler", (_Handler,), {"databases": self.databases})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self._server.daemon_threads = True
        # A client that stops reading is part of the play.
        self._server.handle_error = lambda request, address: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._server.server_address[1]

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


def _unquoted(part: str) -> str:
    return unquote_to_bytes(part).decode("utf-8", "surrogatepass")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment: else each answer waits for the client's acknowledgement.
    wbufsize = 1 << 16
    databases: dict[str, ClusterDatabase]
    version = "3.3.3"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        _, name, *rest = [*address.path.split("/"), ""]
        database = self.databases.get(unquote(name))
        answer: bytes | None = None
        if not name:
            answer = b'{"couchdb":"Welcome","version":"%s","vendor":{"name":"The Apache Software Foundation"}}' % (
                self.version.encode()
            )
        elif database:
            if query.get("feed") == "longpoll":
                self._poll(database, query)
                return
            try:
                answer = self._of_database(database, rest[:-1] or [""], query, body)
            except Refusal as refusal:
                self._refuse(refusal)
                return
        self.send_response(404 if answer is None else 200)
        answer = b'{"error":"not_found","reason":"missing"}' if answer is None else answer
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _poll(self, database: ClusterDatabase, query: dict[str, str]) -> None:
        """Answers once there is a change, and gives a sign of life until then, as long as somebody listens."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        beat, since = int(query.get("heartbeat", "60000")) / 1000, query["since"]
        try:
            self._chunk(b'{"results":[\n')
            beaten = time.monotonic()
            while json.loads(answer := database.changes(since, 1, 1, bodies=False))["pending"] == 0 and (
                b'"id"' not in answer
            ):
                time.sleep(0.02)
                if time.monotonic() - beaten >= beat:
                    self._chunk(b"\n")
                    beaten = time.monotonic()
            self._chunk(answer.partition(b"[")[2])
            self._chunk(b"")
        except OSError:
            self.close_connection = True

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def _refuse(self, refusal: Refusal) -> None:
        self.send_response(refusal.status)
        if refusal.location:
            self.send_header("Location", refusal.location)
        self.send_header("Content-Length", str(len(refusal.body)))
        self.end_headers()
        self.wfile.write(refusal.body)

    def _of_database(  # noqa: PLR0911 - one for each kind of request
        self, database: ClusterDatabase, parts: list[str], query: dict[str, str], body: bytes
    ) -> bytes | None:
        if len(self.requestline) > LONGEST_LINE:
            self.close_connection = True
            raise Refusal(400)
        path, bodies = parts[0], query.get("include_docs") == "true"
        if not path:
            return database.info()
        if path == "_changes":
            limit = int(query.get("limit", "1000000"))
            interval = int(query.get("seq_interval", "1"))
            return database.changes(query.get("since", "0"), limit, interval, bodies=bodies)
        if path == "_bulk_get" and query.get("revs") == "true":
            return database.ends(json.loads(body)["docs"])
        if path == "_purged_infos":
            return database.purged_infos()
        if path == "_all_docs" and not body:
            return database.listing(query)
        if body:
            return self._of_question(database, path, query, json.loads(body))
        return self._of_document(database, parts, query.get("rev"))

    def _of_question(
        self, database: ClusterDatabase, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> bytes | None:
        if path == "_bulk_get":
            return database.bulk_get(body["docs"])
        if "keys" in body:
            return database.all_docs(body["keys"], bodies=query.get("include_docs") == "true")
        return database.listing(query | {name: json.dumps(value) for name, value in body.items()})

    def _of_document(self, database: ClusterDatabase, parts: list[str], rev: str | None) -> bytes | None:
        path = parts[0]
        if path[:10].lower() == "_design%2f":
            raise Refusal(301, location=f"http://{self.headers['Host']}/{database.name}/_design/{path[10:]}")
        if path == "_design" and len(parts) == 2:
            return database.document(f"_design/{_unquoted(parts[1])}", rev)
        # More parts would be an attachment's.
        return database.document(_unquoted(path), rev) if len(parts) == 1 else None

    def log_message(self, *args: object) -> None:
        pass
