"""A made-up CHT deployment, document by document, the same for the same seed."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from include.demo import activity, contacts, server_docs
from include.demo.plan import DEFAULT_NOW, WITH_INFO, Plan
from include.demo.reports import report

Doc = dict[str, Any]
PLACES = ("district", "health_center", "clinic")
MAKERS: dict[str, Callable[[Plan, int], Doc]] = {
    "person": contacts.person,
    "report": report,
    "user": server_docs.user,
    "task": activity.task,
    "target": activity.target,
    "telemetry": activity.telemetry,
    "feedback": activity.feedback,
}
OF_USERS = ("telemetry", "feedback")
# Written by the users day by day, in no order; the rest comes first, as when a deployment is set up.
DAILY = ("report", "task", "target", "telemetry", "feedback", "purgelog")


def make_plan(documents: int, seed: int, now: datetime = DEFAULT_NOW, malformed: float = 0.002) -> Plan:
    """Return the plan of a deployment.

    :param documents: documents in all databases together, at least 100.
    :param seed: another seed gives other ids and contents.
    :param now: time of the newest documents.
    :param malformed: share of contacts, reports, telemetry and feedback with a broken time or number, 0 to 1.
    :raises DemoError: too few documents or a share outside 0 to 1.
    """
    fixed = sum(1 for _ in server_docs.fixed_documents(0)) + sum(1 for _ in server_docs.design_documents())
    return Plan(documents=documents, seed=seed, now=now, malformed=malformed, fixed=fixed)


def generate(
    documents: int = 20_000, seed: int = 1, now: datetime = DEFAULT_NOW, malformed: float = 0.002
) -> Iterator[tuple[str, Doc]]:
    """Yield database name and document, exactly `documents` of them, without holding them.

    :param documents: documents in all databases together, at least 100.
    :param seed: another seed gives other ids and contents.
    :param now: time of the newest documents.
    :param malformed: share of contacts, reports, telemetry and feedback with a broken time or number, 0 to 1.
    :raises DemoError: too few documents or a share outside 0 to 1.
    """
    plan = make_plan(documents, seed, now, malformed)
    yield from server_docs.fixed_documents(plan.now_ms)
    for kind in (*PLACES, "person", "user"):
        for index in range(plan.counts[kind]):
            yield from made(plan, kind, index)
    for kind, index in _mixed(plan):
        yield from made(plan, kind, index)
    # At last, as after an upgrade: some servers read all design documents again at every write.
    yield from server_docs.design_documents()


def made(plan: Plan, kind: str, index: int) -> Iterator[tuple[str, Doc]]:
    """Yield database and document of one of a kind, and of its info document where it has one.

    :param plan: the deployment.
    :param kind: one of the kinds in `Plan.counts`.
    :param index: which one; may lie beyond the plan's count, for documents that come later.
    """
    if kind == "purgelog":
        yield server_docs.purgelog(plan, index)
        return
    doc = contacts.place(plan, kind, index) if kind in PLACES else MAKERS[kind](plan, index)
    yield server_docs.USERS_META if kind in OF_USERS else server_docs.MEDIC, doc
    if kind in WITH_INFO:
        yield server_docs.SENTINEL, server_docs.info(plan, kind, index, doc)


def _mixed(plan: Plan) -> Iterator[tuple[str, int]]:
    rng = random.Random(f"{plan.seed}/order")
    done = dict.fromkeys(DAILY, 0)
    total = sum(plan.counts[kind] for kind in DAILY)
    for _ in range(total):
        left = [plan.counts[kind] - done[kind] for kind in DAILY]
        kind = rng.choices(DAILY, weights=left)[0]
        yield kind, done[kind]
        done[kind] += 1
