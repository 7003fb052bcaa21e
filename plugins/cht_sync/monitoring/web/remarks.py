"""What the page says of findings of a kind, one remark for each cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cht_sync.common.text import counted, duration, listed
from cht_sync.monitoring.finding import SEVERITY, Finding, Kind, Limits
from cht_sync.monitoring.health import RESULT, failing_since
from cht_sync.monitoring.parts import PARTS
from cht_sync.monitoring.sentences import CATALOGUE, of_gone_owner, of_older_revisions, of_removed, same_cause
from cht_sync.monitoring.state import MOST, GoneOwner, Model, Source
from cht_sync.monitoring.web.answers import List, Remark

if TYPE_CHECKING:
    from cht_sync.monitoring.state import Facts

# Without these parts nobody can say whether the copy is complete and fresh.
ESSENTIAL = {"tables", "sources"}
# In one of these states a source is copied; of the others nobody may say so.
_COPIED = {"ok", "warning", "loading"}
# So many first loads, or lists, are told one by one.
_FEW = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands around the findings.

    :param facts: what was read; its sources have their states.
    :param now: the time, with a zone.
    :param limits: from when on something is late.
    """

    facts: Facts
    now: datetime
    limits: Limits

    @property
    def sources(self) -> list[Source]:
        """Those that are copied."""
        return [source for source in self.facts.sources if source.copied]


def remarks(kind: Kind, findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """The remarks about findings of one kind.

    :param kind: the kind.
    :param findings: all of it that are to be told, at least one.
    :param scene: what stands around them.
    """
    tell = _TELLERS.get(kind)
    if tell:
        yield from tell(findings, scene)
    else:
        yield _remark(kind, scene, since=findings[0].since)


def _remark(kind: Kind, scene: Scene, text: str = "", **fields: Any) -> Remark:
    entry = CATALOGUE[kind]
    known = {"state": SEVERITY[kind], "todo": entry.remedy, "link": entry.link.format(models=scene.limits.models_dag)}
    return Remark(kind=entry.shown, text=text or entry.text, **known | fields)  # type: ignore[arg-type]


def _grouped(findings: list[Finding], key: Callable[[Any], Any]) -> list[list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for each in findings:
        groups.setdefault(key(each.about), []).append(each.about)
    return list(groups.values())


def _abouts(findings: list[Finding]) -> list[Any]:
    return [each.about for each in findings]


def _names(sources: list[Source]) -> str:
    return listed([source.source for source in sources])


def _link(sources: list[Source]) -> str:
    """Of the task of one source; of several, of all that were made of that task in the run."""
    links = [source.task.link for source in sources if source.task]
    if not links:
        return "dags/cht_sync"
    return links[0] if len(links) == 1 else links[0].rpartition("/")[0] or links[0]


def _destination(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """What of the copy stops."""
    sources, dag = scene.sources, scene.facts.dag
    failing = [each for each in sources if each.state in {"failing", "retrying"}]
    ended = dag.last.ended_at if dag and dag.last and dag.last.state == "success" else None
    if failing:
        number = "The only source is" if len(sources) == 1 else f"{len(failing)} of {len(sources)} sources are"
        todo = f"{number} not copied meanwhile; nothing is lost, and the runs go on once it answers."
    elif ended and scene.now - ended <= scene.limits.failing:
        todo = "The newest run of cht_sync went well, so it may be that this API server alone cannot read it."
    else:
        todo = "Until it answers nothing is copied and nothing is lost."
    link = failing[0].task.link if failing and failing[0].task else ""
    text = scene.facts.destination.message
    yield _remark(Kind.DESTINATION, scene, text, todo=todo, since=findings[0].since, link=link)


def _parts(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    def cause(part: Any) -> Any:
        pids = tuple(blocker.pid for blocker in part.blockers)
        return (part.why, pids) if pids else part.part

    for parts in _grouped(findings, cause):
        first = min(parts, key=lambda part: part.part not in ESSENTIAL)
        others = [PARTS[part.part].what for part in parts if part is not first]
        also = f" Nor is known {', '.join(what[:1].lower() + what[1:] for what in others)}." if others else ""
        since = min((part.since for part in parts if part.since), default=None)
        yield _remark(Kind.PART, scene, first.text + also, essential=first.part in ESSENTIAL, since=since)


def _settings(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        task, said = each.about
        taken = {"message": said.message, "todo": "The next run takes the new settings."} if said else {}
        yield _remark(Kind.SETTINGS, scene, since=each.since, link=task.link, **taken)


def _run(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for newest, run in _abouts(findings):
        failed = [task for task in run.failed if task.name != RESULT] or run.failed
        names = ", ".join(task.name for task in failed[:3])
        link = failed[0].link if failed else run.link
        text = f"{newest} failed{f' in {names}' if names else ''}."
        yield _remark(Kind.RUN, scene, text, since=run.ended_at, link=link)


def _cause(source: Source) -> tuple[str, str]:
    """Sources with one cause say the same; where they say nothing, it is their server that they share."""
    if source.error:
        return "said", same_cause(source.error.message, source.source)
    return "server", source.source.rpartition("/")[0]


def _failed(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in _grouped(findings, _cause):
        log = "The log of its task says" if len(group) == 1 else "The logs of their tasks say"
        todo = {} if group[0].error else {"todo": f"{log} why. Fix it; the next run goes on where this one stopped."}
        text = _told(group, scene.sources, "cannot be copied")
        yield _remark(Kind.SOURCE, scene, text, since=_last_good(group), **_tries(group), **todo)


def _retrying(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in _grouped(findings, _cause):
        text = _told(group, scene.sources, "could not be read at the last try")
        yield _remark(Kind.RETRYING, scene, text, **_tries(group))


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


def _tries(group: list[Source]) -> dict[str, Any]:
    return {
        "message": next((source.error.message for source in group if source.error), ""),
        "retrying_since": min((at for each in group if (at := failing_since(each))), default=None),
        "tries": max((source.error.tries for source in group if source.error), default=0),
        "link": _link(group),
    }


def _last_good(group: list[Source]) -> datetime | None:
    """When they were last read to the end, the oldest of them."""
    return min((at for each in group if (at := each.complete_at or each.looked_at)), default=None)


def _behind(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    sources, dag = _abouts(findings), scene.facts.dag
    last = _last_good(sources)
    ago = f" for {duration((scene.now - last).total_seconds())}" if last else ""
    pending = sum(source.pending or 0 for source in sources)
    waiting = f"; {counted(pending, 'change waits', 'changes wait', pending)}" if pending else ""
    if len(sources) == 1:
        text = f"{sources[0].source} has not been read to its end{ago}{waiting}."
    else:
        at_most = ago.replace(" for ", ", the longest for ")
        text = f"{len(sources)} sources have not been read to their end{at_most}{waiting}: {_names(sources)}."
    todo = {"todo": ""} if dag and dag.paused else {}
    yield _remark(Kind.BEHIND, scene, text, since=last, link=_link(sources), **todo)


def _unread(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    sources = _abouts(findings)
    text, it = f"{sources[0].source} has not been read yet.", "it"
    if len(sources) > 1:
        text, it = f"{len(sources)} sources have not been read yet: {_names(sources)}.", "them"
    todo = CATALOGUE[Kind.UNREAD].remedy.format(it=it)
    yield _remark(Kind.UNREAD, scene, text, todo=todo, link=_link(sources))


def _loading(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    loads = _abouts(findings)
    if len(loads) > _FEW:
        left = max((each.load.seconds_left or 0 for each in loads if each.load), default=0)
        about = f"; about {duration(left)} left for the slowest" if left else ""
        text = f"{len(loads)} sources are being loaded{about}: {_names(loads)}."
        yield _remark(Kind.LOADING, scene, text, link=_link(loads))
        return
    for source in loads:
        seconds = source.load.seconds_left if source.load else None
        text = f"{source.source} is being loaded" + (f": about {duration(seconds)} left." if seconds else ".")
        yield _remark(Kind.LOADING, scene, text, link=_link([source]))


def _gone_owners(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """One remark for each owner: it is one server that has another name now, or is gone."""
    for group in _grouped(findings, lambda each: each.owner):
        owned: list[GoneOwner] = sorted(group, key=lambda each: (not each.is_namesake, each.source))
        yield _remark(
            Kind.GONE_OWNER,
            scene,
            " ".join(of_gone_owner(each)[0] for each in owned[:_FEW]),
            since=min((each.since for each in owned if each.since), default=None),
            todo=of_gone_owner(owned[0])[1],
            lists=[List(name="collisions", source=each.source) for each in owned[:_FEW]],
        )


def _in_doubt(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        yield _remark(Kind.DOUBT, scene, each.about.doubt.text, since=each.since)


def _older_revisions(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        text, todo = of_older_revisions(each.about.older_revisions)
        yield _remark(Kind.OLDER_REVISION, scene, text, since=each.since, todo=todo, link=_link([each.about]))


def _proofs(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for group in _grouped(findings, lambda source: source.proof.verdict):
        whose = group[0].source if len(group) == 1 else f"{len(group)} sources"
        named = f" ({_names(group)})" if len(group) > 1 else ""
        text = f"The last proof of {whose}{named} says: {group[0].proof.verdict}."
        yield _remark(Kind.PROOF, scene, text, since=min(source.proof.at for source in group))


def _quarantined(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    held = [source for source, _ in _abouts(findings)]
    if len(held) == 1:
        number = counted(held[0].quarantined, "document", "documents", MOST)
        text = f"{number} of {held[0].source} in quarantine."
    else:
        named = listed([f"{each.source} ({counted(each.quarantined, '', '', MOST).strip()})" for each in held])
        text = f"Documents of {len(held)} sources in quarantine: {named}."
    lists = [List(name="quarantine", source=each.source) for each in held[:_FEW]]
    yield _remark(Kind.QUARANTINE, scene, text, lists=lists)


def _log_of(models: list[Model], scene: Scene) -> dict[str, str]:
    """The way to the task of the first of them, where that is known."""
    dag = scene.limits.models_dag
    links = {each.subject: each.link for each in scene.facts.task_errors if each.dag_id == dag and each.link}
    return {"link": links[models[0].name]} if models[0].name in links else {}


def _models(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        models, names = each.about, listed([model.name for model in each.about])
        wait = "waits" if len(models) == 1 else "wait"
        text = {
            Kind.SHRUNK: f"The guard is closed: {names} lost more rows than is believed.",
            Kind.HELD: f"The guard is closed: {names} {wait}, so that readers of the failing models lose no row.",
            Kind.MODELS: f"{counted(len(models), 'model fails', 'models fail', MOST)}: {names}.",
        }[each.kind]
        link = {} if each.kind is Kind.HELD else _log_of(models, scene)
        yield _remark(each.kind, scene, text, since=each.since, **link)


def _removed(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        text, todo = of_removed(each.about)
        yield _remark(Kind.REMOVED, scene, text, since=each.since, todo=todo)


def _lag(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        group, dag = each.about, scene.facts.dag
        which = f" {group.models}" if group.models else ""
        number = counted(group.waiting, "document", "documents", MOST)
        wait = "waits" if group.waiting == 1 else "wait"
        text = f"The models{which} have not seen {number}."
        if group.succeeded_at is None:
            text = f"The models{which} have never run to a good end; {number} {wait} for them."
        todo = {"todo": f"Unpause {scene.limits.models_dag}."} if dag and dag.models_paused else {}
        yield _remark(each.kind, scene, text, since=each.since, **todo)


def _tasks(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    def cause(error: Any) -> Any:
        return error.dag_id, error.task_id, same_cause(error.message, error.subject)

    severity = {(each.about.dag_id, each.about.task_id): each.severity for each in findings}
    for errors in _grouped(findings, cause):
        first, subjects = errors[0], [each.subject for each in errors if each.subject]
        yield _remark(
            findings[0].kind,
            scene,
            f"Task {first.task_id} of {first.dag_id} fails{f' for {listed(subjects)}' if subjects else ''}.",
            state=severity[first.dag_id, first.task_id],
            message=first.message,
            retrying_since=min(each.first_at for each in errors),
            tries=max(each.tries for each in errors),
            link=first.link,
        )


_TELLERS: dict[Kind, Callable[[list[Finding], Scene], Iterator[Remark]]] = {
    Kind.DESTINATION: _destination, Kind.PART: _parts, Kind.SETTINGS: _settings, Kind.RUN: _run,
    Kind.SOURCE: _failed, Kind.RETRYING: _retrying, Kind.BEHIND: _behind, Kind.UNREAD: _unread,
    Kind.LOADING: _loading, Kind.GONE_OWNER: _gone_owners, Kind.DOUBT: _in_doubt,
    Kind.OLDER_REVISION: _older_revisions, Kind.PROOF: _proofs, Kind.QUARANTINE: _quarantined, Kind.SHRUNK: _models,
    Kind.HELD: _models, Kind.MODELS: _models, Kind.REMOVED: _removed, Kind.MODELS_BEHIND: _lag,
    Kind.MODELS_LOADING: _lag, Kind.TASK: _tasks, Kind.DEPLOYMENT: _tasks,
}  # fmt: skip
