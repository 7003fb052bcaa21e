"""Is the copy complete and fresh, and if not: what is wrong, since when, and what is to be done?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cht_sync.web.answers import MOST, Remark, Source, Verdict
from cht_sync.web.words import counted, duration

if TYPE_CHECKING:
    from cht_sync.web.answers import Dag, Destination, Group, Model, State, Task

# Younger than this is fresh, whatever the schedule; older is so only while nothing waits and the next run is not due.
FRESH = timedelta(minutes=15)
# A run that is due starts within seconds; after this the scheduler is not at work.
DUE = timedelta(minutes=5)
MODELS_LAG = timedelta(hours=1)
# The worst first.
_ORDER: tuple[State, ...] = ("unknown", "failing", "paused", "behind", "warning", "loading", "empty", "ok")
_HEADLINES = {
    "unknown": "Not known: the destination does not answer",
    "failing": "Something fails",
    "paused": "Paused: nothing is copied",
    "behind": "Behind: the copy is not fresh",
    "warning": "Complete, with something to look at",
    "loading": "First load under way: not complete yet",
    "empty": "Nothing has been copied yet",
    "ok": "Complete and fresh",
}
_BAD_PROOFS = {"differs", "in doubt"}


def judge_source(source: Source, task: Task | None, dag: Dag, now: datetime) -> Source:
    """A source with its state.

    :param source: what the destination knows of it.
    :param task: its newest task that has ended.
    :param dag: the DAG.
    :param now: the time, with a zone.
    """
    state, word = _state_of(source, task, dag, now) if source.copied else ("empty", "Not copied any more")
    return source.model_copy(update={"state": state, "word": word, "task": task})


def worst_first(sources: list[Source]) -> list[Source]:
    """Sources that need somebody before those that do not.

    :param sources: each with its state.
    """
    return sorted(sources, key=lambda source: (_ORDER.index(source.state), source.source))


def _state_of(source: Source, task: Task | None, dag: Dag, now: datetime) -> tuple[State, str]:
    if task and task.state in {"failed", "upstream_failed"}:
        return "failing", "Failing"
    if source.complete_at is None:
        return _state_of_load(source, dag, now)
    if _is_late(source.complete_at, dag, now, waiting=source.pending != 0):
        return "behind", "Behind"
    if source.proof and source.proof.verdict in _BAD_PROOFS:
        return "warning", f"Proof: {source.proof.verdict}"
    if source.quarantined:
        return "warning", "Quarantine"
    return "ok", "Complete and fresh"


def _state_of_load(source: Source, dag: Dag, now: datetime) -> tuple[State, str]:
    if source.looked_at is None:
        return "loading", "Not read yet"
    return ("behind", "First load stands still") if _is_late(source.looked_at, dag, now) else ("loading", "First load")


def _is_late(at: datetime, dag: Dag, now: datetime, waiting: bool = False) -> bool:
    if now - at <= FRESH:
        return False
    if waiting:  # a run that had no more time went well, too
        return True
    last_went_well = bool(dag.run and dag.run.state == "success")
    return not (dag.next_run_at and dag.next_run_at > now and last_went_well and not dag.paused)


def judge(
    destination: Destination,
    dag: Dag,
    now: datetime,
    *,
    sources: list[Source],
    groups: list[Group],
    models: list[Model],
    models_dag: str = "cht_sync",
) -> Verdict:
    """The answer in words, with all there is to know, the worst first.

    :param destination: whether it answers.
    :param dag: the DAG.
    :param now: the time, with a zone.
    :param sources: each with its state.
    :param groups: how far the models have come.
    :param models: how each model ended.
    :param models_dag: the DAG that runs them.
    """
    sources = [source for source in sources if source.copied]
    remarks = [
        *_about_destination(destination),
        *_about_dag(dag, now),
        *(remark for source in sources for remark in _about_source(source, dag, now)),
        *_about_models(groups, models, now, f"dags/{models_dag}"),
    ]
    remarks += _about_run(dag, remarks)
    remarks.sort(key=lambda remark: _ORDER.index(remark.state))
    if not remarks and not sources:
        return Verdict(state="empty", headline=_HEADLINES["empty"], remarks=[_START])
    if not remarks:
        return Verdict(
            state="ok", headline=_HEADLINES["ok"], since=min(each.complete_at for each in sources if each.complete_at)
        )
    worst = remarks[0]
    return Verdict(state=worst.state, headline=_headline(worst, remarks, sources), since=worst.since, remarks=remarks)


# Those that are there whatever the settings say; others are named in the README.
_UNPAUSE = "Unpause cht_sync, and cht_pipeline_deploy, cht_reconcile and cht_data_tests, which are paused at first too."
_START = Remark(
    state="empty",
    text="No source has been read.",
    todo=f"{_UNPAUSE} `python -m cht_sync check` says what they lack.",
    link="dags/cht_sync",
)


def _headline(worst: Remark, remarks: list[Remark], sources: list[Source]) -> str:
    if worst.state == "failing":
        broken = [source.source for source in sources if source.state == "failing"]
        if len(broken) == 1:
            return f"Failing: {broken[0]} is not copied"
        if broken:
            return f"Failing: {len(broken)} of {len(sources)} sources are not copied"
        if "guard" in worst.text:
            return "Guard closed: models wait for a person"
        if "model" in worst.text:
            return "Models fail; the copy goes on"
    if worst.state == "warning" and any("quarantine" in remark.text for remark in remarks):
        return "Fresh, but documents are in quarantine"
    return _HEADLINES[worst.state]


def _about_destination(destination: Destination) -> Iterator[Remark]:
    if not destination.reachable:
        yield Remark(
            state="unknown", text=destination.message, todo="Until it answers nothing is copied and nothing is lost."
        )


def _about_dag(dag: Dag, now: datetime) -> Iterator[Remark]:
    if not dag.exists:
        yield Remark(
            state="paused",
            text="Airflow does not know the DAG cht_sync.",
            todo="Look at the import errors on Airflow's home page, and whether the DAG processor runs.",
            link="dags",
        )
    elif dag.paused:
        yield Remark(state="paused", text="The DAG cht_sync is paused.", todo=_UNPAUSE, link="dags/cht_sync")
    elif dag.next_run_at and now - dag.next_run_at > DUE and not (dag.run and dag.run.state == "running"):
        yield Remark(
            state="behind",
            text="A run of cht_sync is due and has not started.",
            since=dag.next_run_at,
            todo="See whether the scheduler runs.",
            link="dags/cht_sync",
        )
    if dag.run and dag.run.state == "failed":
        for task in dag.run.failed:
            if task.name == "sources":
                yield Remark(
                    state="failing",
                    text="The settings cannot be used: task sources failed, so nothing is copied.",
                    since=dag.run.ended_at,
                    todo="Its log names the setting and the remedy.",
                    link=task.link,
                )


def _about_run(dag: Dag, remarks: list[Remark]) -> Iterator[Remark]:
    """A run that failed for a reason that no table tells of."""
    if dag.run and dag.run.state == "failed" and not any(remark.state in {"failing", "unknown"} for remark in remarks):
        failed = [task for task in dag.run.failed if task.name != "result"] or dag.run.failed
        names = ", ".join(task.name for task in failed[:3])
        yield Remark(
            state="failing",
            text=f"The newest run failed{f' in {names}' if names else ''}.",
            since=dag.run.ended_at,
            todo="The log says why; the next run takes up what is left.",
            link=failed[0].link if failed else dag.run.link,
        )


def _about_source(source: Source, dag: Dag, now: datetime) -> Iterator[Remark]:
    name, link = source.source, source.task.link if source.task else "dags/cht_sync"
    if source.state == "failing":
        yield Remark(
            state="failing",
            text=f"{name} cannot be copied; the others are.",
            since=source.complete_at or source.looked_at,
            todo="The last line of the log says why. Mend that; the next run goes on where this one stopped.",
            link=link,
        )
    elif source.state == "behind":
        last = source.complete_at or source.looked_at
        ago = f" for {duration((now - last).total_seconds())}" if last else ""
        waiting = (
            f"; {counted(source.pending, 'change waits', 'changes wait', source.pending)}" if source.pending else ""
        )
        yield Remark(
            state="behind",
            text=f"{name} has not been read to its end{ago}{waiting}.",
            since=last,
            todo="" if dag.paused else "See whether cht_sync runs, and how its task's log says that it ended.",
            link=link,
        )
    elif source.state == "loading" and source.looked_at is None:
        yield Remark(
            state="loading", text=f"{name} has not been read yet.", todo="The next run of cht_sync reads it.", link=link
        )
    elif source.state == "loading" and source.load:
        left = source.load.seconds_left
        yield Remark(
            state="loading",
            text=f"{name} is being loaded" + (f": about {duration(left)} left." if left else "."),
            link=link,
        )
    if source.proof and source.proof.verdict in _BAD_PROOFS:
        yield Remark(
            state="warning",
            text=f"The last proof of {name} says: {source.proof.verdict}.",
            since=source.proof.at,
            todo="Trigger cht_reconcile; it repairs what differs and names what it cannot.",
            link="dags/cht_reconcile",
        )
    if source.quarantined:
        yield Remark(
            state="warning",
            text=f"{counted(source.quarantined, 'document', 'documents', MOST)} of {name} in quarantine.",
            todo="Look at the reasons; once they are mended, trigger cht_sync with retry_quarantine.",
            link="dags/cht_sync",
        )


def _about_models(groups: list[Group], models: list[Model], now: datetime, link: str) -> Iterator[Remark]:
    failing = [model for model in models if model.state == "failing" and model.word == "Failing"]
    shrunk = [model for model in models if model.word.startswith("Shrunk")]
    held = [model for model in models if model.word.startswith("Held")]
    if shrunk:
        yield Remark(
            state="failing",
            text=f"The guard is closed: {_names(shrunk)} lost more rows than is believed.",
            since=_since(shrunk),
            todo="Find out why; if it is right, trigger a run with lift_guard.",
            link=link,
        )
    if held:
        wait = "waits" if len(held) == 1 else "wait"
        yield Remark(
            state="failing",
            text=f"The guard is closed: {_names(held)} {wait}, so that readers of the failing models lose no row.",
            since=_since(failing),
            todo="Mend the failing model, or trigger a run with lift_guard.",
            link=link,
        )
    if failing:
        yield Remark(
            state="failing",
            text=f"{counted(len(failing), 'model fails', 'models fail', MOST)}: {_names(failing)}.",
            since=_since(failing),
            todo="The message below, and the log of the model's task, say why.",
            link=link,
        )
    for group in groups:
        # In between two runs they are behind by a minute or two; that is no lag.
        behind = now - group.modelled_to if group.modelled_to and group.waiting else timedelta(0)
        if behind > MODELS_LAG and not failing:
            which = f" {group.models}" if group.models else ""
            yield Remark(
                state="behind",
                text=f"The models{which} have not seen {counted(group.waiting or 0, 'document', 'documents', MOST)}.",
                since=group.modelled_to,
                todo="See whether the models run, and how long they take.",
                link=link,
            )


def _names(models: list[Model]) -> str:
    names = [model.name for model in models]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _since(models: list[Model]) -> datetime | None:
    return min((model.failing_since for model in models if model.failing_since), default=None)
