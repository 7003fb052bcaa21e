"""What is to be known of what runs: the destination, Airflow, and tasks that fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cht_sync.health.findings import same_cause
from cht_sync.health.parts import PARTS
from cht_sync.health.words import listed
from cht_sync.web.answers import Remark

if TYPE_CHECKING:
    from cht_sync.health.findings import TaskError
    from cht_sync.health.parts import Unknown
    from cht_sync.web.answers import Dag, Destination, Model, Run, Source, Task

# A run that is due starts within seconds; after this the scheduler is not at work.
DUE = timedelta(minutes=5)
# Airflow's processes give a sign of life every few seconds.
GONE = timedelta(minutes=2)
LATELY = timedelta(minutes=15)
# Without these parts nobody can say whether the copy is complete and fresh.
_ESSENTIAL = {"tables", "sources"}
# The task that fails because others do.
_RESULT = "result"
# Those that are there whatever the settings say; docs/how-to-install.md names the others.
UNPAUSE = "Unpause cht_sync, and cht_pipeline_deploy, cht_reconcile and cht_data_tests, which are paused at first too."


def about_destination(destination: Destination, dag: Dag, sources: list[Source], now: datetime) -> Iterator[Remark]:
    """Whether it answers, and what of the copy that stops.

    :param destination: whether it answers.
    :param dag: the DAG.
    :param sources: each with its state.
    :param now: the time, with a zone.
    """
    if destination.reachable:
        return
    failing = [each for each in sources if each.state in {"failing", "retrying"}]
    ended = dag.last.ended_at if dag.last and dag.last.state == "success" else None
    if failing:
        number = "The only source is" if len(sources) == 1 else f"{len(failing)} of {len(sources)} sources are"
        todo = f"{number} not copied meanwhile; nothing is lost, and the runs go on once it answers."
    elif ended and now - ended <= LATELY:
        todo = "The newest run of cht_sync went well, so it may be that this API server alone cannot read it."
    else:
        todo = "Until it answers nothing is copied and nothing is lost."
    link = failing[0].task.link if failing and failing[0].task else ""
    since = min((each.task.retrying_since for each in failing if each.task and each.task.retrying_since), default=None)
    yield Remark(state="unknown", kind="destination", text=destination.message, todo=todo, since=since, link=link)


def about_parts(unknown: Iterable[Unknown]) -> Iterator[Remark]:
    """What could not be read, one remark for each cause.

    :param unknown: the parts.
    """
    causes: dict[object, list[Unknown]] = {}
    for each in unknown:
        pids = tuple(blocker.pid for blocker in each.blockers)
        causes.setdefault((each.why, pids) if pids else each.part, []).append(each)
    for parts in causes.values():
        first = min(parts, key=lambda part: part.part not in _ESSENTIAL)
        others = [_decapitalized(PARTS[part.part].what) for part in parts if part is not first]
        also = f" Nor is known {', '.join(others)}." if others else ""
        yield Remark(
            state="unknown",
            kind="part",
            essential=first.part in _ESSENTIAL,
            text=first.text + also,
            since=min((part.since for part in parts if part.since), default=None),
            todo="Everything else on this page was read just now.",
        )


def _decapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def about_dag(dag: Dag, now: datetime, task_errors: Iterable[TaskError]) -> Iterator[Remark]:
    """Whether Airflow runs the DAG.

    :param dag: the DAG.
    :param now: the time, with a zone.
    :param task_errors: why tasks fail.
    """
    seen, triggered = dag.scheduler_seen_at, dag.triggerer_seen_at
    stands = bool(seen and now - seen > GONE)
    if stands:
        yield Remark(
            state="failing",
            kind="scheduler",
            text="Airflow's scheduler gives no sign of life: no run starts, so nothing is copied.",
            since=seen,
            todo="Start `airflow scheduler` again; its log says why it ended.",
        )
    if dag.needs_triggerer and (triggered is None or now - triggered > GONE):
        yield Remark(
            state="failing",
            kind="triggerer",
            text="Airflow's triggerer gives no sign of life, and triggers wait for it: in event mode no change in"
            " CouchDB starts a run.",
            since=triggered,
            todo="Start `airflow triggerer`, with the settings and connections of the workers.",
        )
    if not dag.exists:
        yield Remark(
            state="paused",
            kind="dag",
            text="Airflow does not know the DAG cht_sync.",
            todo="Look at the import errors on Airflow's home page, and whether the DAG processor runs.",
            link="dags",
        )
    elif dag.paused:
        yield Remark(
            state="paused", kind="paused", text="The DAG cht_sync is paused.", todo=UNPAUSE, link="dags/cht_sync"
        )
    elif not stands and dag.next_run_at and now - dag.next_run_at > DUE and not _runs(dag):
        yield Remark(
            state="behind",
            kind="due",
            text="A run of cht_sync is due and has not started.",
            since=dag.next_run_at,
            todo="See whether the scheduler runs.",
            link="dags/cht_sync",
        )
    yield from _about_settings(dag, task_errors)


def _about_settings(dag: Dag, task_errors: Iterable[TaskError]) -> Iterator[Remark]:
    """Settings that the newest run that ended could not use, and that no run has used since."""
    said = next((each for each in task_errors if (each.dag_id, each.task_id) == ("cht_sync", "sources")), None)
    if dag.last and dag.last.state == "failed" and (said or not _runs(dag)):
        for task in dag.last.failed:
            if task.name == "sources":
                yield _settings(dag.last, task, said)


def _runs(dag: Dag) -> bool:
    return bool(dag.run and dag.run.state == "running")


def _settings(run: Run, task: Task, said: TaskError | None) -> Remark:
    return Remark(
        state="failing",
        kind="settings",
        text="Nothing is copied, as the settings cannot be used: task sources failed.",
        message=said.message if said else "",
        since=said.first_at if said else run.ended_at,
        todo="The next run takes the new settings." if said else "Its log names the setting and the remedy.",
        link=task.link,
    )


def about_tasks(
    task_errors: Iterable[TaskError], sources: Sequence[Source], models: Sequence[Model], models_dag: str
) -> list[Remark]:
    """Tasks that fail and that no other remark tells of, one remark for each cause.

    :param task_errors: why tasks fail.
    :param sources: those that are copied.
    :param models: how each model ended.
    :param models_dag: the DAG that runs them.
    """
    names = {source.source for source in sources}
    failing = {model.name for model in models if model.state != "ok"}
    causes: dict[tuple[str, str, str], list[TaskError]] = {}
    for each in task_errors:
        is_told = each.subject in names if each.is_sync else each.subject in failing and each.dag_id == models_dag
        if not is_told and each.task_id not in {"sources", _RESULT}:
            key = (each.dag_id, each.task_id, same_cause(each.message, each.subject))
            causes.setdefault(key, []).append(each)
    return [_task(each, models_dag) for each in causes.values()]


def _task(errors: list[TaskError], models_dag: str) -> Remark:
    first = errors[0]
    subjects = [each.subject for each in errors if each.subject]
    of = f" for {listed(subjects)}" if subjects else ""
    return Remark(
        state="failing" if first.dag_id in {"cht_sync", models_dag} else "warning",
        kind="task",
        text=f"Task {first.task_id} of {first.dag_id} fails{of}.",
        message=first.message,
        retrying_since=min(each.first_at for each in errors),
        tries=max(each.tries for each in errors),
        link=first.link,
    )


def about_run(dag: Dag, remarks: list[Remark]) -> Iterator[Remark]:
    """A run that failed for a reason that no table tells of.

    :param dag: the DAG.
    :param remarks: what is told already.
    """
    if dag.last and dag.last.state == "failed" and not _is_told(remarks):
        newest = "The newest run that has ended" if dag.run and dag.run.run_id != dag.last.run_id else "The newest run"
        yield _run(newest, dag.last)


def about_models_run(dag: Dag, remarks: list[Remark], models_dag: str) -> Iterator[Remark]:
    """The same of the DAG that runs the models, where that is another one.

    :param dag: the DAG.
    :param remarks: what is told already.
    :param models_dag: the DAG that runs the models.
    """
    if dag.models_ended and dag.models_ended.state == "failed" and not _is_told(remarks):
        yield _run(f"The newest run of {models_dag} that has ended", dag.models_ended)


def _is_told(remarks: list[Remark]) -> bool:
    return any(remark.state == "failing" or remark.kind == "destination" for remark in remarks)


def _run(newest: str, run: Run) -> Remark:
    failed = [task for task in run.failed if task.name != _RESULT] or run.failed
    names = ", ".join(task.name for task in failed[:3])
    return Remark(
        state="failing",
        kind="run",
        text=f"{newest} failed{f' in {names}' if names else ''}.",
        since=run.ended_at,
        todo="The log says why; the next run takes up what is left.",
        link=failed[0].link if failed else run.link,
    )
