"""What is to be known of the sources, one remark for each cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cht_sync.health.findings import same_cause
from cht_sync.health.words import counted, duration, listed
from cht_sync.web.answers import MOST, List, Remark

if TYPE_CHECKING:
    from cht_sync.health.findings import GoneOwner
    from cht_sync.web.answers import Dag, Destination, Source

BAD_PROOFS = {"differs", "in doubt"}
# In one of these states a source is copied; of the others nobody may say so.
_COPIED = {"ok", "warning", "loading"}
# So many first loads are told one by one, each with its own time.
_LOADS = 3


def failing_since(source: Source) -> datetime | None:
    """When the first of the tries failed that are made since; None where none failed.

    :param source: the source, with task and error.
    """
    known = [source.task.retrying_since if source.task else None, source.error.first_at if source.error else None]
    return min((each for each in known if each), default=None)


def about_sources(sources: list[Source], dag: Dag, now: datetime, destination: Destination) -> Iterator[Remark]:
    """Sources that fail, are behind, are loaded, or hold something to look at.

    :param sources: each with its state, those that are copied.
    :param dag: the DAG.
    :param now: the time, with a zone.
    :param destination: where it does not answer, that is why sources fail.
    """
    if destination.reachable:
        yield from _not_copied(sources)
    yield from _behind([each for each in sources if each.state == "behind"], dag, now)
    yield from _loading([each for each in sources if each.state == "loading"])
    yield from _gone_owners(sources)
    yield from _in_doubt(sources)
    yield from _proofs(sources)
    yield from _quarantined(sources)


def _grouped(sources: list[Source], key: Callable[[Source], Any]) -> list[list[Source]]:
    groups: dict[Any, list[Source]] = {}
    for source in sources:
        groups.setdefault(key(source), []).append(source)
    return list(groups.values())


def _names(sources: list[Source]) -> str:
    return listed([source.source for source in sources])


def _link(sources: list[Source]) -> str:
    """Of the task of one source; of several, of all that were made of that task in the run."""
    links = [source.task.link for source in sources if source.task]
    if not links:
        return "dags/cht_sync"
    return links[0] if len(links) == 1 else links[0].rpartition("/")[0] or links[0]


def _cause(source: Source) -> tuple[str, str]:
    """Sources with one cause say the same; where they say nothing, it is their server that they share."""
    if source.error:
        return "said", same_cause(source.error.message, source.source)
    return "server", source.source.rpartition("/")[0]


def _not_copied(sources: list[Source]) -> Iterator[Remark]:
    failed = [each for each in sources if each.state == "failing" and each.task and _has_failed(each)]
    retrying = [each for each in sources if each.state == "retrying"]
    for group in _grouped(failed, _cause):
        log = "The log of its task" if len(group) == 1 else "The logs of their tasks"
        says = "says" if len(group) == 1 else "say"
        yield Remark(
            state="failing",
            kind="source",
            text=_told(group, sources, "cannot be copied"),
            message=_message(group),
            since=_last_good(group),
            retrying_since=_first_try(group),
            tries=_tries(group),
            todo="The next run goes on where this one stopped."
            if group[0].error
            else f"{log} {says} why. Fix it; the next run goes on where this one stopped.",
            link=_link(group),
        )
    for group in _grouped(retrying, _cause):
        yield Remark(
            state="retrying",
            kind="retrying",
            text=_told(group, sources, "could not be read at the last try"),
            message=_message(group),
            retrying_since=_first_try(group),
            tries=_tries(group),
            todo="Nothing is lost. It is tried again by itself.",
            link=_link(group),
        )


def _has_failed(source: Source) -> bool:
    return bool(source.task and source.task.state in {"failed", "upstream_failed"})


def _told(group: list[Source], sources: list[Source], what: str) -> str:
    others = [source for source in sources if source not in group]
    if len(group) == 1:
        number = group[0].source
    else:
        number = f"{len(group)} of {len(sources)} sources" if others else f"All {len(group)} sources"
    named = f": {_names(group)}" if len(group) > 1 else ""
    well = f"; the other {len(others)} are copied" if len(others) > 1 else "; the other one is copied"
    # Said only where it is so of each of them.
    rest = well if others and all(each.state in _COPIED for each in others) else ""
    return f"{number} {what}{named}{rest}."


def _message(group: list[Source]) -> str:
    return next((source.error.message for source in group if source.error), "")


def _last_good(group: list[Source]) -> datetime | None:
    """When they were last read to the end, the oldest of them."""
    return min((at for each in group if (at := each.complete_at or each.looked_at)), default=None)


def _first_try(group: list[Source]) -> datetime | None:
    return min((at for each in group if (at := failing_since(each))), default=None)


def _tries(group: list[Source]) -> int:
    return max((source.error.tries for source in group if source.error), default=0)


def _behind(sources: list[Source], dag: Dag, now: datetime) -> Iterator[Remark]:
    if not sources:
        return
    last = _last_good(sources)
    ago = f" for {duration((now - last).total_seconds())}" if last else ""
    pending = sum(source.pending or 0 for source in sources)
    waiting = f"; {counted(pending, 'change waits', 'changes wait', pending)}" if pending else ""
    if len(sources) == 1:
        text = f"{sources[0].source} has not been read to its end{ago}{waiting}."
    else:
        at_most = ago.replace(" for ", ", the longest for ")
        text = f"{len(sources)} sources have not been read to their end{at_most}{waiting}: {_names(sources)}."
    yield Remark(
        state="behind",
        kind="behind",
        text=text,
        since=last,
        todo="" if dag.paused else "See whether cht_sync runs, and how its task's log says that it ended.",
        link=_link(sources),
    )


def _loading(sources: list[Source]) -> Iterator[Remark]:
    unread = [source for source in sources if source.looked_at is None]
    loads = [source for source in sources if source.looked_at is not None]
    if unread:
        is_are = "has" if len(unread) == 1 else "have"
        named = unread[0].source if len(unread) == 1 else f"{len(unread)} sources"
        rest = f": {_names(unread)}" if len(unread) > 1 else ""
        todo = "The next run of cht_sync reads it." if len(unread) == 1 else "The next run of cht_sync reads them."
        text = f"{named} {is_are} not been read yet{rest}."
        yield Remark(state="loading", kind="unread", text=text, todo=todo, link=_link(unread))
    if len(loads) > _LOADS:
        left = max((each.load.seconds_left or 0 for each in loads if each.load), default=0)
        about = f"; about {duration(left)} left for the slowest" if left else ""
        text = f"{len(loads)} sources are being loaded{about}: {_names(loads)}."
        yield Remark(state="loading", kind="loading", text=text, link=_link(loads))
        return
    for source in loads:
        seconds = source.load.seconds_left if source.load else None
        text = f"{source.source} is being loaded" + (f": about {duration(seconds)} left." if seconds else ".")
        yield Remark(state="loading", kind="loading", text=text, link=_link([source]))


def _gone_owners(sources: list[Source]) -> Iterator[Remark]:
    """One remark for each owner: it is one server that has another name now, or is gone."""
    owners: dict[str, list[GoneOwner]] = {}
    for each in (each for source in sources for each in source.gone_owners):
        owners.setdefault(each.owner, []).append(each)
    for group in owners.values():
        group.sort(key=lambda each: (not each.is_namesake, each.source))
        yield Remark(
            state="failing",
            kind="gone_owner",
            text=" ".join(each.text for each in group[:_LOADS]),
            since=min((each.since for each in group if each.since), default=None),
            todo=group[0].todo,
            lists=[List(name="collisions", source=each.source) for each in group[:_LOADS]],
        )


def _in_doubt(sources: list[Source]) -> Iterator[Remark]:
    for source in sources:
        if source.doubt:
            yield Remark(
                state="warning",
                kind="doubt",
                text=source.doubt.text,
                since=source.doubt.since,
                todo="Nothing was changed because of it. That run takes the doubt away; to wait no longer trigger it.",
                link="dags/cht_reconcile",
            )
    for source in sources:
        if source.older_revisions:
            yield Remark(
                state="warning",
                kind="older_revision",
                text=source.older_revisions.text,
                since=source.older_revisions.since,
                todo=source.older_revisions.todo,
                link=_link([source]),
            )


def _proofs(sources: list[Source]) -> Iterator[Remark]:
    bad = [source for source in sources if source.proof and source.proof.verdict in BAD_PROOFS]
    for group in _grouped(bad, lambda source: source.proof.verdict if source.proof else ""):
        verdict = group[0].proof.verdict if group[0].proof else ""
        whose = group[0].source if len(group) == 1 else f"{len(group)} sources"
        named = f" ({_names(group)})" if len(group) > 1 else ""
        yield Remark(
            state="warning",
            kind="proof",
            text=f"The last proof of {whose}{named} says: {verdict}.",
            since=min(source.proof.at for source in group if source.proof),
            todo="Trigger cht_reconcile; it repairs what differs and names what it cannot.",
            link="dags/cht_reconcile",
        )


def _quarantined(sources: list[Source]) -> Iterator[Remark]:
    held = [source for source in sources if source.quarantined]
    if not held:
        return
    if len(held) == 1:
        number = counted(held[0].quarantined, "document", "documents", MOST)
        text = f"{number} of {held[0].source} in quarantine."
    else:
        named = listed([f"{each.source} ({counted(each.quarantined, '', '', MOST).strip()})" for each in held])
        text = f"Documents of {len(held)} sources in quarantine: {named}."
    yield Remark(
        state="warning",
        kind="quarantine",
        text=text,
        todo="Look at the reasons; once they are fixed, trigger cht_sync with retry_quarantine.",
        link="dags/cht_sync",
        lists=[List(name="quarantine", source=each.source) for each in held[:_LOADS]],
    )
