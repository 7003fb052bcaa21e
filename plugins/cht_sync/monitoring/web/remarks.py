"""What the page says of findings of a kind, one remark for each cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cht_sync.common.text import counted, listed
from cht_sync.monitoring.finding import Finding, Kind
from cht_sync.monitoring.health import RESULT
from cht_sync.monitoring.parts import PARTS
from cht_sync.monitoring.paused_dags import MEANS
from cht_sync.monitoring.sentences import of_form_notices, of_forms, of_removed, same_cause
from cht_sync.monitoring.state import MOST, Model
from cht_sync.monitoring.web import source_remarks
from cht_sync.monitoring.web.answers import Remark
from cht_sync.monitoring.web.scene import Scene, abouts, grouped, remark

# Without these parts it is not certain whether the copy is complete and fresh.
ESSENTIAL = {"tables", "sources"}


def remarks(kind: Kind, findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """The remarks about findings of one kind.

    :param findings: all of the kind that the page shows, at least one.
    """
    tell = _TELLERS.get(kind)
    if tell:
        yield from tell(findings, scene)
    else:
        yield remark(kind, scene, since=findings[0].since)


def _destination(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    """What is not copied because of it."""
    sources, dag = scene.sources, scene.facts.dag
    failing = [each for each in sources if each.state in {"failing", "retrying"}]
    ended = dag.last.ended_at if dag and dag.last and dag.last.state == "success" else None
    if failing:
        number = "The only source is" if len(sources) == 1 else f"{len(failing)} of {len(sources)} sources are"
        todo = f"{number} not copied meanwhile; nothing is lost, and the runs continue once it answers."
    elif ended and scene.now - ended <= scene.limits.failing:
        todo = "The newest run of cht_sync went well, so it may be that this API server alone cannot read it."
    else:
        todo = "Until it answers nothing is copied and nothing is lost."
    link = failing[0].task.link if failing and failing[0].task else ""
    text = scene.facts.destination.message
    yield remark(Kind.DESTINATION, scene, text, todo=todo, since=findings[0].since, link=link)


def _parts(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    def cause(part: Any) -> Any:
        pids = tuple(blocker.pid for blocker in part.blockers)
        return (part.why, pids) if pids else part.part

    for parts in grouped(findings, cause):
        first = min(parts, key=lambda part: part.part not in ESSENTIAL)
        others = [PARTS[part.part].what for part in parts if part is not first]
        also = f" Also not known: {', '.join(what[:1].lower() + what[1:] for what in others)}." if others else ""
        since = min((part.since for part in parts if part.since), default=None)
        yield remark(Kind.PART, scene, first.text + also, essential=first.part in ESSENTIAL, since=since)


def _paused_dags(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    dags = [each.subject for each in findings]
    text = " ".join(f"{dag} is paused: {MEANS[dag]}." for dag in dags)
    todo = f"Unpause {'it' if len(dags) == 1 else 'them'}, unless that is what you want."
    yield remark(Kind.PAUSED_DAG, scene, text, todo=todo, link=f"dags/{dags[0]}" if len(dags) == 1 else "dags")


def _settings(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        task, said = each.about
        taken = {"message": said.message, "todo": "The next run takes the new settings."} if said else {}
        yield remark(Kind.SETTINGS, scene, since=each.since, link=task.link, **taken)


def _run(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for newest, run in abouts(findings):
        failed = [task for task in run.failed if task.name != RESULT] or run.failed
        names = ", ".join(task.name for task in failed[:3])
        link = failed[0].link if failed else run.link
        text = f"{newest} failed{f' in {names}' if names else ''}."
        yield remark(Kind.RUN, scene, text, since=run.ended_at, link=link)


def _log_of(models: list[Model], scene: Scene) -> dict[str, str]:
    """The way to the task of the first of them, where that is known."""
    dag = scene.limits.models_dag
    links = {each.subject: each.link for each in scene.facts.task_errors if each.dag_id == dag and each.link}
    return {"link": links[models[0].name]} if models[0].name in links else {}


def _models(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        models, names = each.about, listed([model.name for model in each.about])
        are = "is" if len(models) == 1 else "are"
        text = {
            Kind.SHRUNK: f"Blocked by the row-loss check: {names} lost more rows than CHT_MODELS_MAX_DROP allows.",
            Kind.HELD: f"{names} {are} skipped: to run would delete rows of downstream models that fail.",
            Kind.MODELS: f"{counted(len(models), 'model fails', 'models fail', MOST)}: {names}.",
        }[each.kind]
        link = {} if each.kind is Kind.HELD else _log_of(models, scene)
        yield remark(each.kind, scene, text, since=each.since, **link)


def _removed(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        text, todo = of_removed(each.about)
        yield remark(Kind.REMOVED, scene, text, since=each.since, todo=todo)


def _forms(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for errors in grouped(findings, lambda error: (error.source, not error.code, error.text)):
        since = min((each.since for each in errors if each.since), default=None)
        yield remark(Kind.FORM, scene, of_forms(errors), since=since)


def _form_notices(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        yield remark(Kind.FORM_NOTICE, scene, of_form_notices(each.about), since=each.since)


def _lag(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    for each in findings:
        group, dag = each.about, scene.facts.dag
        which = f" {group.models}" if group.models else ""
        number = counted(group.waiting, "document", "documents", MOST)
        wait = "waits" if group.waiting == 1 else "wait"
        text = f"The models{which} have not seen {number}."
        if group.succeeded_at is None:
            text = f"The models{which} have never completed a run; {number} {wait} for them."
        todo = {"todo": f"Unpause {scene.limits.models_dag}."} if dag and dag.models_paused else {}
        yield remark(each.kind, scene, text, since=each.since, **todo)


def _tasks(findings: list[Finding], scene: Scene) -> Iterator[Remark]:
    def cause(error: Any) -> Any:
        return error.dag_id, error.task_id, same_cause(error.message, error.subject)

    severity = {(each.about.dag_id, each.about.task_id): each.severity for each in findings}
    for errors in grouped(findings, cause):
        first, subjects = errors[0], [each.subject for each in errors if each.subject]
        yield remark(
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
    **source_remarks.TELLERS,
    Kind.DESTINATION: _destination, Kind.PART: _parts, Kind.PAUSED_DAG: _paused_dags, Kind.SETTINGS: _settings,
    Kind.RUN: _run, Kind.SHRUNK: _models, Kind.HELD: _models, Kind.MODELS: _models, Kind.REMOVED: _removed,
    Kind.MODELS_BEHIND: _lag, Kind.MODELS_LOADING: _lag, Kind.TASK: _tasks, Kind.DEPLOYMENT: _tasks,
    Kind.FORM: _forms, Kind.FORM_NOTICE: _form_notices,
}  # fmt: skip
