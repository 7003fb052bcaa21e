"""Filling a CouchDB-protocol server with a generated deployment."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.forms.published import second_version
from include.demo.generator import DEFAULT_NOW, generate
from include.demo.server_docs import MEDIC, SENTINEL, USERS_META

Doc = dict[str, Any]
DATABASES = (MEDIC, SENTINEL, USERS_META)
MARKER = f"{MEDIC}/_local/cht-demo"
CHUNK = 500
# Edits and deletes come this many documents later, as they do in life, and are not all held to the end.
LATER = 400
EDIT_SHARE, DELETE_SHARE = 0.03, 0.02
KEPT_TYPES = (None, "translations", "meta", "metadata", "user-settings", "district_hospital")


@dataclass
class FillReport:
    """What `fill` did."""

    documents: int = 0
    edits: int = 0
    deletes: int = 0
    seconds: float = 0.0
    already_filled: bool = False
    by_database: dict[str, int] = field(default_factory=dict)


def fill(
    url: str,
    auth: tuple[str, str],
    documents: int = 20_000,
    seed: int = 1,
    *,
    now: datetime = DEFAULT_NOW,
    malformed: float = 0.002,
) -> FillReport:
    """Write a generated deployment to a server, edit about 3 % of it, one form among that, and delete about 2 %.

    What is there already from an interrupted call is left; after a complete one nothing is done.

    :param url: address of the server without credentials.
    :param auth: user and password of an administrator.
    :param documents: documents in all databases together before deletes, at least 100.
    :param seed: another seed gives other ids and contents.
    :param now: time of the newest documents.
    :param malformed: share of documents with a broken time or number, 0 to 1.
    :returns: how many documents were written, edited and deleted by this call.
    :raises DemoError: the server holds another deployment, does not answer or refuses a document.
    """
    began = time.monotonic()
    couch = Couch(url, auth)
    for name in DATABASES:
        couch.create_database(name)
    wanted = {"documents": documents, "seed": seed, "now": now.isoformat(), "malformed": malformed}
    marker = read_marker(couch)
    if marker and {name: marker.get(name) for name in wanted} != wanted:
        raise DemoError(
            f"{couch.url} was filled with {marker['documents']} documents of seed {marker['seed']}, asked were "
            f"{documents} of seed {seed}: ask for the same, or start with an empty folder."
        )
    if marker and marker["finished"]:
        return FillReport(already_filled=True)
    resumed = marker is not None
    marker = marker or _save_marker(couch, {**wanted, "finished": False})
    with ThreadPoolExecutor(len(DATABASES)) as pool:
        # One connection each: sessions of requests are not made for several threads.
        writers = {name: _Writer(Couch(url, auth), name, pool, resumed) for name in DATABASES}
        for database, doc in generate(documents, seed, now, malformed):
            writers[database].add(doc)
        for writer in writers.values():
            writer.finish()
    _save_marker(couch, {**marker, "finished": True})
    return FillReport(
        documents=sum(writer.documents for writer in writers.values()),
        edits=sum(writer.edits for writer in writers.values()),
        deletes=sum(writer.deletes for writer in writers.values()),
        seconds=time.monotonic() - began,
        by_database={name: writer.documents for name, writer in writers.items()},
    )


def read_marker(couch: Couch) -> Doc | None:
    """Return what `fill` noted on the server: documents, seed, now, malformed, finished; None when never filled."""
    found: Doc | None = couch.call("GET", MARKER, accept=(404,))
    return found


def edited(doc: Doc, rng: random.Random) -> Doc:
    """Return a changed copy of a document, `_rev` included: reports are verified, contacts get another phone."""
    if doc.get("type") == "data_record":
        return {**doc, "verified": rng.random() < 0.7, "verified_date": doc.get("reported_date")}
    if "name" in doc:
        return {**doc, "phone": f"+25570{rng.randrange(10**7):07}", "name": f"{doc['name']} ✎"}
    return {**doc, "edited": True}


def tombstone(doc: Doc, rng: random.Random) -> Doc:
    """Return what deletes a document: half of them keep their fields, as CHT's app deletes, half are bare."""
    body = doc if rng.random() < 0.5 else {name: doc[name] for name in ("_id", "_rev")}
    return {**body, "_deleted": True}


def _save_marker(couch: Couch, marker: Doc) -> Doc:
    saved = couch.call("PUT", MARKER, body=marker)
    return {**marker, "_id": saved["id"], "_rev": saved["rev"]}


class _Writer:
    """Writes the documents of one database in bulk while the next ones are made, and changes some of them later."""

    def __init__(self, couch: Couch, database: str, pool: Executor, resumed: bool) -> None:
        self.documents = self.edits = self.deletes = 0
        self._couch = couch
        self._database = database
        self._pool = pool
        self._resumed = resumed
        self._new: list[Doc] = []
        self._later: list[Doc] = []
        self._under_way: Future[None] | None = None

    def add(self, doc: Doc) -> None:
        self._new.append(doc)
        if len(self._new) >= CHUNK:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._wait()
        self._change()

    def _flush(self) -> None:
        # One request at a time: memory stays small, and an error ends the filling at the next chunk.
        self._wait()
        docs, self._new = self._new, []
        self._under_way = self._pool.submit(self._write, docs)

    def _wait(self) -> None:
        if self._under_way:
            self._under_way.result()

    def _write(self, docs: list[Doc]) -> None:
        known = self._couch.states(self._database, [doc["_id"] for doc in docs]) if self._resumed and docs else {}
        written = self._couch.write(self._database, [doc for doc in docs if doc["_id"] not in known])
        self.documents += len(written)
        self._later.extend(self._to_change(docs, {**known, **written}))
        if len(self._later) >= LATER:
            self._change()

    def _to_change(self, docs: list[Doc], revisions: dict[str, str | None]) -> Iterator[Doc]:
        for doc in docs:
            revision = revisions.get(doc["_id"])
            # A later revision or none: an interrupted call has been here.
            if revision is not None and revision.startswith("1-"):
                later = _later_revision({**doc, "_rev": revision})
                if later is not None:
                    yield later

    def _change(self) -> None:
        docs, self._later = self._later, []
        for start in range(0, len(docs), CHUNK):
            self._couch.write(self._database, docs[start : start + CHUNK])
        deletes = sum(1 for doc in docs if "_deleted" in doc)
        self.deletes += deletes
        self.edits += len(docs) - deletes


def _later_revision(doc: Doc) -> Doc | None:
    # Decided by the id, so that an interrupted call and the one that resumes it agree.
    rng = random.Random(doc["_id"])
    lot = rng.random()
    if doc.get("type") == "form":
        return second_version(doc)
    if doc.get("type") in KEPT_TYPES or lot >= EDIT_SHARE + DELETE_SHARE:
        return None
    return edited(doc, rng) if lot < EDIT_SHARE else tombstone(doc, rng)
