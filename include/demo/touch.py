"""Life in a filled deployment: later edits, deletes and new reports."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.fill import edited, read_marker, tombstone
from include.demo.generator import made, make_plan
from include.demo.plan import Plan
from include.demo.server_docs import MEDIC

Doc = dict[str, Any]
TOUCHED_TYPES = ("data_record", "person", "clinic", "contact")
SAMPLE = 100


@dataclass
class TouchReport:
    """The ids that `touch` changed, all in the database `medic` but the info documents of new reports."""

    edits: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    creates: list[str] = field(default_factory=list)


def touch(
    url: str, auth: tuple[str, str], *, edits: int = 10, deletes: int = 2, creates: int = 10, seed: int | None = None
) -> TouchReport:
    """Edit and delete some documents of a filled server and add new reports.

    :param url: address of the server without credentials.
    :param auth: user and password of an administrator.
    :param edits: how many reports and contacts to edit.
    :param deletes: how many reports and contacts to delete.
    :param creates: how many reports to add, each with its info document in `medic-sentinel`.
    :param seed: the same seed takes the same choice of an unchanged server; default: the time.
    :returns: the ids that were changed.
    :raises DemoError: the server was never filled, holds too few documents, does not answer or refuses one.
    """
    couch = Couch(url, auth)
    marker = read_marker(couch)
    if marker is None:
        raise DemoError(f"{couch.url} holds no generated deployment: fill it first.")
    seed = time.time_ns() if seed is None else seed
    rng = random.Random(seed)
    report = TouchReport()
    chosen = _choose(couch, rng, edits + deletes)
    changes = [edited(doc, rng) for doc in chosen[:edits]] + [tombstone(doc, rng) for doc in chosen[edits:]]
    couch.write(MEDIC, changes)
    report.edits = [doc["_id"] for doc in chosen[:edits]]
    report.deletes = [doc["_id"] for doc in chosen[edits:]]
    plan = make_plan(marker["documents"], marker["seed"], datetime.fromisoformat(marker["now"]), marker["malformed"])
    report.creates = _create(couch, plan, creates, seed)
    return report


def _create(couch: Couch, plan: Plan, creates: int, seed: int) -> list[str]:
    new: dict[str, list[Doc]] = {}
    # Far beyond the reports of the plan, and another range for each seed.
    first = plan.counts["report"] + (seed + 1) * 1_000_000
    now = int(datetime.now(UTC).timestamp() * 1000)
    for index in range(first, first + creates):
        for database, doc in made(plan, "report", index):
            if database == MEDIC:
                doc["reported_date"] = now
            new.setdefault(database, []).append(doc)
    written = {database: couch.write(database, docs) for database, docs in new.items()}
    return list(written.get(MEDIC, {}))


def _choose(couch: Couch, rng: random.Random, number: int) -> list[Doc]:
    chosen: dict[str, Doc] = {}
    for doc in _samples(couch, rng):
        if len(chosen) >= number:
            return list(chosen.values())
        if doc.get("type") in TOUCHED_TYPES:
            chosen[doc["_id"]] = doc
    raise DemoError(f"{couch.url}/{MEDIC} holds fewer than {number} reports and contacts: ask for fewer changes.")


def _samples(couch: Couch, rng: random.Random) -> Iterator[Doc]:
    """Yield documents from random places of the id range, at last all of them."""
    for _ in range(50):
        # Ids of reports and contacts start with hexadecimal digits.
        start = json.dumps(f"{rng.getrandbits(32):08x}")
        answer = couch.call("GET", f"{MEDIC}/_all_docs", include_docs=True, limit=SAMPLE, startkey=start)
        docs = [row["doc"] for row in answer["rows"]]
        yield from rng.sample(docs, min(len(docs), 5))
    yield from couch.documents(MEDIC)
