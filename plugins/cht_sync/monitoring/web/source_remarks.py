"""What the page says of sources: one remark for all that have one cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from cht_sync.common.text import counted, duration, listed
from cht_sync.monitoring.finding import Finding, Kind
from cht_sync.monitoring.sentences import CATALOGUE, of_gone_owner, of_older_revisions, same_cause
from cht_sync.monitoring.source_state import failing_since
from cht_sync.monitoring.state import MOST, GoneOwner, Source
from cht_sync.monitoring.web.answers import List, Remark
from cht_sync.monitoring.web.scene import Scene, abouts, grouped, link_of, names_of, remark

# In these states a source is copied; in the others that is not certain.
_COPIED = {"ok", "warning", "loading"}
# So many first loads, or lists, are shown one by one.
_FEW = 3


def _cause(source: Source) -> tuple[str, str]:
    """Sources with one cause say the same; where they say nothing, it is their server that they share."""
    if source.error:
        return "said", same_cause(source.error.message, source.source)
    return "server", source.source.rpartition("/")[0]


def _failed(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in grouped(findings, _cause):
        log = "The log of its task says" if len(group) == 1 else "The logs of their tasks say"
        todo = {} if group[0].error else {"todo": f"{log} why. Fix it; the next run continues where this one stopped."}
        text = _told(group, scene.sources, "cannot be copied")
        yield remark(Kind.SOURCE, scene, text, since=_last_good(group), **_tries(group), **todo)


def _retrying(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in grouped(findings, _cause):
        text = _told(group, scene.sources, "could not be read at the last try")
        yield remark(Kind.RETRYING, scene, text, **_tries(group))


def _told(group: list[Source], sources: list[Source], what: str) -> str:
    others = [source for source in sources if source not in group]
    if len(group) == 1:
        number = group[0].source
    else:
        number = f"{len(group)} of {len(sources)} sources" if others else f"All {len(group)} sources"
    named = f": {names_of(group)}" if len(group) > 1 else ""
    well = f"; the other {len(others)} are copied" if len(others) > 1 else "; the other one is copied"
    # Said only where it is so of each of them.
    rest = well if others and all(each.state in _COPIED for each in others) else ""
    return f"{number} {what}{named}{rest}."


def _tries(group: list[Source]) -> dict[str, Any]:
    return {
        "message": next((source.error.message for source in group if source.error), ""),
        "retrying_since": min((at for each in group if (at := failing_since(each))), default=None),
        "tries": max((source.error.tries for source in group if source.error), default=0),
        "link": link_of(group),
    }


def _last_good(group: list[Source]) -> datetime | None:
    """When they were last up to date, the oldest of them."""
    return min((at for each in group if (at := each.complete_at or each.looked_at)), default=None)


def _behind(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    sources, dag = abouts(findings), scene.facts.dag
    last = _last_good(sources)
    ago = f" for {duration((scene.now - last).total_seconds())}" if last else ""
    pending = sum(source.pending or 0 for source in sources)
    waiting = f"; {counted(pending, 'change waits', 'changes wait', pending)}" if pending else ""
    if len(sources) == 1:
        text = f"{sources[0].source} is not up to date{ago}{waiting}."
    else:
        at_most = ago.replace(" for ", ", the longest for ")
        text = f"{len(sources)} sources are not up to date{at_most}{waiting}: {names_of(sources)}."
    todo = {"todo": ""} if dag and dag.paused else {}
    yield remark(Kind.BEHIND, scene, text, since=last, link=link_of(sources), **todo)


def _unread(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    sources = abouts(findings)
    text, it = f"{sources[0].source} has not been read yet.", "it"
    if len(sources) > 1:
        text, it = f"{len(sources)} sources have not been read yet: {names_of(sources)}.", "them"
    todo = CATALOGUE[Kind.UNREAD].remedy.format(it=it)
    yield remark(Kind.UNREAD, scene, text, todo=todo, link=link_of(sources))


def _loading(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    loads = abouts(findings)
    if len(loads) > _FEW:
        left = max((each.load.seconds_left or 0 for each in loads if each.load), default=0)
        about = f"; about {duration(left)} left for the slowest" if left else ""
        text = f"{len(loads)} sources are being loaded{about}: {names_of(loads)}."
        yield remark(Kind.LOADING, scene, text, link=link_of(loads))
        return
    for source in loads:
        seconds = source.load.seconds_left if source.load else None
        text = f"{source.source} is being loaded" + (f": about {duration(seconds)} left." if seconds else ".")
        yield remark(Kind.LOADING, scene, text, link=link_of([source]))


def _gone_owners(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """One remark for each owner: it is one server that has another name now, or is gone."""
    for group in grouped(findings, lambda each: each.owner):
        owned: list[GoneOwner] = sorted(group, key=lambda each: (not each.is_namesake, each.source))
        yield remark(
            Kind.GONE_OWNER,
            scene,
            " ".join(of_gone_owner(each)[0] for each in owned[:_FEW]),
            since=min((each.since for each in owned if each.since), default=None),
            todo=of_gone_owner(owned[0])[1],
            lists=[List(name="collisions", source=each.source) for each in owned[:_FEW]],
        )


def _in_doubt(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        yield remark(Kind.DOUBT, scene, each.about.doubt.text, since=each.since)


def _older_revisions(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        text, todo = of_older_revisions(each.about.older_revisions)
        yield remark(Kind.OLDER_REVISION, scene, text, since=each.since, todo=todo, link=link_of([each.about]))


def _proofs(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in grouped(findings, lambda source: source.proof.verdict):
        whose = group[0].source if len(group) == 1 else f"{len(group)} sources"
        named = f" ({names_of(group)})" if len(group) > 1 else ""
        inconclusive = group[0].proof.verdict == "in doubt"
        text = (
            f"The last reconciliation of {whose}{named} {'was inconclusive' if inconclusive else 'found differences'}."
        )
        yield remark(Kind.PROOF, scene, text, since=min(source.proof.at for source in group))


def _quarantined(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    held = [source for source, _ in abouts(findings)]
    if len(held) == 1:
        number = counted(held[0].quarantined, "document", "documents", MOST)
        text = f"{number} of {held[0].source} in quarantine."
    else:
        named = listed([f"{each.source} ({counted(each.quarantined, '', '', MOST).strip()})" for each in held])
        text = f"Documents of {len(held)} sources in quarantine: {named}."
    lists = [List(name="quarantine", source=each.source) for each in held[:_FEW]]
    yield remark(Kind.QUARANTINE, scene, text, lists=lists)


def _overdue(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    sources = abouts(findings)
    since = min((each.since for each in findings if each.since), default=None)
    whose = sources[0].source if len(sources) == 1 else f"{len(sources)} sources"
    named = f": {names_of(sources)}" if len(sources) > 1 else ""
    last = "has succeeded since" if since else "has ever succeeded"
    yield remark(Kind.RECONCILIATION_OVERDUE, scene, f"No reconciliation of {whose} {last}{named}.", since=since)


TELLERS: dict[Kind, Callable[[list[Finding], Scene], Iterator[Remark]]] = {
    Kind.SOURCE: _failed, Kind.RETRYING: _retrying, Kind.BEHIND: _behind, Kind.UNREAD: _unread,
    Kind.LOADING: _loading, Kind.GONE_OWNER: _gone_owners, Kind.DOUBT: _in_doubt,
    Kind.OLDER_REVISION: _older_revisions, Kind.PROOF: _proofs, Kind.RECONCILIATION_OVERDUE: _overdue,
    Kind.QUARANTINE: _quarantined,
}  # fmt: skip
