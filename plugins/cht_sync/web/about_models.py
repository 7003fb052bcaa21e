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
    from cht_sync.web.answers import Group, Model

MODELS_LAG = timedelta(hours=1)


def about_models(
    groups: list[Group],
    models: list[Model],
    now: datetime,
    models_dag: str,
    task_errors: Iterable[TaskError] = (),
    *,
    removed: Iterable[RemovedModel] = (),
) -> Iterator[Remark]:
    """Models that fail, are held back, lag or are no more.

    :param groups: how far the models have come.
    :param models: how each model ended.
    :param now: the time, with a zone.
    :param models_dag: the DAG that runs them.
    :param task_errors: why tasks fail.
    :param removed: tables that no model makes any more.
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
    for group in groups:
        # In between two runs they are behind by a minute or two; that is no lag.
        behind = now - group.modelled_to if group.modelled_to and group.waiting else timedelta(0)
        if behind > MODELS_LAG and not failing:
            which = f" {group.models}" if group.models else ""
            yield Remark(
                state="behind",
                kind="models_behind",
                text=f"The models{which} have not seen {counted(group.waiting or 0, 'document', 'documents', MOST)}.",
                since=group.modelled_to,
                todo="See whether the models run, and how long they take.",
                link=link,
            )


def _names(models: list[Model]) -> str:
    return listed([model.name for model in models])


def _since(models: list[Model]) -> datetime | None:
    return min((model.failing_since for model in models if model.failing_since), default=None)
