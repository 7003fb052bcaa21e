"""Is the copy complete and fresh? The first line of the page, and its remarks, from the findings."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from cht_sync.monitoring.finding import Kind
from cht_sync.monitoring.sentences import CATALOGUE
from cht_sync.monitoring.source_state import has_failed
from cht_sync.monitoring.web.answers import Remark, Verdict
from cht_sync.monitoring.web.remarks import remarks
from cht_sync.monitoring.web.scene import Scene

if TYPE_CHECKING:
    from cht_sync.monitoring.finding import Finding
    from cht_sync.monitoring.state import Source, State

# The worst first.
_ORDER: tuple[State, ...] = (
    "unknown", "failing", "paused", "retrying", "behind", "warning", "loading", "empty", "ok",
)  # fmt: skip
_HEADLINES = {
    "unknown": "Status unavailable",
    "failing": "Sync failed",
    "paused": "Paused: nothing is copied",
    "behind": "Behind: the copy is not fresh",
    "warning": "Complete, with warnings",
    "loading": "First load running: not complete yet",
    "empty": "Nothing has been copied yet",
    "ok": "Complete and fresh",
}
_BY_KIND = {
    Kind.PART: "Status unavailable: not everything could be read",
    Kind.SCHEDULER: "Failing: Airflow's scheduler does not run",
    Kind.TRIGGERER: "Failing: Airflow's triggerer does not run",
    Kind.SETTINGS: "Failing: nothing is copied",
    Kind.GONE_OWNER: "Not complete: ids belong to a source that is no longer configured",
    Kind.SHRUNK: "Models blocked by the row-loss check",
    Kind.HELD: "Models blocked by the row-loss check",
    Kind.MODELS_BEHIND: "Behind: the models are not fresh",
    Kind.MODELS_LOADING: "The models are being built for the first time",
}
# While one of these is the case, it is not certain that the copy continues.
_STANDS = {
    Kind.DESTINATION, Kind.DAG, Kind.PAUSED, Kind.SCHEDULER, Kind.TRIGGERER, Kind.DUE, Kind.SETTINGS, Kind.SOURCE,
    Kind.RETRYING, Kind.BEHIND,
}  # fmt: skip


def worst_first(sources: list[Source]) -> list[Source]:
    """Sources with problems before those without."""
    return sorted(sources, key=lambda source: (_ORDER.index(source.state), source.source))


def verdict(findings: Sequence[Finding], scene: Scene) -> Verdict:
    """The first line of the page, and all remarks, the worst first."""
    by_kind: dict[Kind, list[Finding]] = {}
    for each in findings:
        if CATALOGUE[each.kind].shown and not each.follows:
            # Of a source that was missed the page says that it is behind.
            by_kind.setdefault(Kind.BEHIND if each.kind is Kind.MISSED else each.kind, []).append(each)
    said = [(kind, each) for kind in Kind if kind in by_kind for each in remarks(kind, by_kind[kind], scene)]
    said.sort(key=lambda one: _rank(one[1]))
    if not said or said[0][1].state == "ok":
        since = min((each.complete_at for each in scene.sources if each.complete_at), default=None)
        told = [remark for _, remark in said]
        return Verdict(state="ok", headline=_HEADLINES["ok"], since=since, remarks=told)
    kind, worst = said[0]
    headline = _headline(kind, worst.state, by_kind.keys(), scene)
    since = worst.retrying_since or worst.since
    return Verdict(state=worst.state, headline=headline, since=since, remarks=[remark for _, remark in said])


def _rank(remark: Remark) -> int:
    """What fails is worse than a part that could not be read."""
    return _ORDER.index(remark.state if remark.essential else "behind")


def _headline(worst: Kind, state: State, kinds: Set[Kind], scene: Scene) -> str:
    if worst is Kind.DESTINATION:
        does = "refuses this server" if scene.facts.destination.refused else "does not answer"
        return f"Status unavailable: PostgreSQL {does}"
    if state == "failing":
        return _headline_of_failing(worst, kinds, scene.sources)
    if worst is Kind.RETRYING:
        return _count("Retrying", [each for each in scene.sources if each.state == "retrying"], scene.sources)
    if state == "warning" and kinds & {Kind.LOADING, Kind.UNREAD}:
        return "First load running, with warnings"
    if state == "warning" and Kind.QUARANTINE in kinds:
        return "Fresh, but documents are in quarantine"
    return _BY_KIND.get(worst, _HEADLINES[state])


def _headline_of_failing(worst: Kind, kinds: Set[Kind], sources: list[Source]) -> str:
    for kind in (Kind.SCHEDULER, Kind.TRIGGERER, Kind.SETTINGS):
        if kind in kinds:
            return _BY_KIND[kind]
    if Kind.SOURCE in kinds:
        return _count("Failing", [each for each in sources if has_failed(each.task)], sources)
    if Kind.MODELS in kinds and not kinds & {Kind.SHRUNK, Kind.HELD, Kind.GONE_OWNER, Kind.TASK, Kind.DEPLOYMENT}:
        return "Models fail" if kinds & _STANDS else "Models fail; the copy continues"
    return _BY_KIND.get(worst, _HEADLINES["failing"])


def _count(word: str, these: list[Source], sources: list[Source]) -> str:
    if len(these) == 1:
        return f"{word}: {these[0].source} is not copied"
    return f"{word}: {len(these)} of {len(sources)} sources are not copied"
