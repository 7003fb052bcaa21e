"""What is to be known of the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cht_sync.health.words import counted, listed
from cht_sync.web.answers import MOST, Remark

if TYPE_CHECKING:
    from cht_sync.health.findings import TaskError
    from cht_sync.health.removed import RemovedModel
    from cht_sync.web.answers import Group, Kind, Model, State

MODELS_LAG = timedelta(hours=1)


def about_models(
    groups: list[Group],
    models: list[Model],
    now: datetime,
    models_dag: str,
    task_errors: Iterable[TaskError] = (),
    *,
    removed: Iterable[RemovedModel] = (),
    paused: bool = False,
) -> Iterator[Remark]:
    """Models that fail, are held back, lag or are no more.

    :param groups: how far the models have come.
    :param models: how each model ended.
    :param now: the time, with a zone.
    :param models_dag: the DAG that runs them.
    :param task_errors: why tasks fail.
    :param removed: tables that no model makes any more.
    :param paused: whether that DAG is paused, where it is not cht_sync.
    """
    failing = [model for model in models if model.word == "Failing"]
    shrunk = [model for model in models if model.word == "Shrunk: guard closed"]
    held = [model for model in models if model.word == "Held back: guard closed"]
    links = {each.subject: each.link for each in task_errors if each.dag_id == models_dag and each.link}
    link = f"dags/{models_dag}"
    if shrunk:
        yield Remark(
            state="failing",
            kind="shrunk",
            text=f"The guard is closed: {_names(shrunk)} lost more rows than is believed.",
            since=_since(shrunk),
            todo="Find out why; if it is right, trigger a run with lift_guard.",
            link=links.get(shrunk[0].name, link),
        )
    if held:
        wait = "waits" if len(held) == 1 else "wait"
        yield Remark(
            state="failing",
            kind="held",
            text=f"The guard is closed: {_names(held)} {wait}, so that readers of the failing models lose no row.",
            since=_since(failing),
            todo="Fix the failing model, or trigger a run with lift_guard.",
            link=link,
        )
    if failing:
        yield Remark(
            state="failing",
            kind="models",
            text=f"{counted(len(failing), 'model fails', 'models fail', MOST)}: {_names(failing)}.",
            since=_since(failing),
            todo="The message below, and the log of the model's task, say why.",
            link=links.get(failing[0].name, link),
        )
    for each in removed:
        yield Remark(
            state="warning",
            kind="removed",
            text=each.text,
            since=each.since,
            todo=each.todo,
            link="dags/cht_pipeline_deploy",
        )
    if not failing:
        for group in groups:
            yield from _about_lag(group, now, link, models_dag if paused else "")


def _about_lag(group: Group, now: datetime, link: str, paused: str) -> Iterator[Remark]:
    """Documents that wait for the models; in between two runs some do for a minute or two, which is no lag."""
    since = group.waiting_since or group.modelled_to
    if not group.waiting or since is None:
        return
    which = f" {group.models}" if group.models else ""
    number = counted(group.waiting, "document", "documents", MOST)
    late = now - since > MODELS_LAG
    todo = f"Unpause {paused}." if paused else "See whether the models run, and how long they take."
    if group.succeeded_at is None:
        state: State = "behind" if late else "loading"
        kind: Kind = "models_behind" if late else "models_loading"
        text = f"The models{which} have never run to a good end; {number} {_wait(group.waiting)} for them."
        yield Remark(state=state, kind=kind, text=text, since=since, todo=todo if late or paused else "", link=link)
    elif late:
        text = f"The models{which} have not seen {number}."
        yield Remark(state="behind", kind="models_behind", text=text, since=since, todo=todo, link=link)


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _names(models: list[Model]) -> str:
    return listed([model.name for model in models])


def _since(models: list[Model]) -> datetime | None:
    return min((model.failing_since for model in models if model.failing_since), default=None)
