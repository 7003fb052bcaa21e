"""After how long a run is ended, and by which setting."""

from __future__ import annotations

from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

MODELS_DAGS = {"cht_sync", "cht_models", "cht_data_tests"}


def limit_of(settings: Settings, dag_id: str) -> tuple[str, int] | None:
    """The setting that limits the runs of a DAG, and its minutes; None where no setting does."""
    try:
        if dag_id == "cht_pipeline_deploy":
            return "CHT_PIPELINE_TIMEOUT", settings.pipeline_timeout
        if dag_id == "cht_sync":
            return "CHT_SYNC_TIMEOUT", settings.run_timeout
        if dag_id in MODELS_DAGS:
            own = settings.models_place == "asset"
            return "CHT_MODELS_TIMEOUT" if own else "CHT_SYNC_TIMEOUT", settings.models_timeout
    except SettingsError:  # the first task of the run tells of it
        pass
    return None


def remedy(settings: Settings, dag_id: str) -> str:
    """What to do where the models of a DAG need longer than its runs may take."""
    found = limit_of(settings, dag_id or "cht_sync")
    name = found[0] if found else "execution_timeout or dagrun_timeout of the DAG"
    if name == "CHT_SYNC_TIMEOUT":
        return (
            "set CHT_MODELS=asset, with which the models run in the DAG cht_models for up to CHT_MODELS_TIMEOUT (1440)"
            " minutes while the copy goes on, or raise CHT_SYNC_TIMEOUT"
        )
    return f"raise {name}"


def models_time_limit_text(settings: Settings, dag_id: str, began: bool = True) -> str:
    """The sentence of a task that ends dbt because the time of its run is over.

    :param began: whether dbt was at work, and did not wait for another one.
    """
    if not began:
        return (
            "dbt did not begin in time, as it waited for another one, or the tasks before it took all the time:"
            f" {_limit_text(settings, dag_id)}. The next run tries again; if it meets the same,"
            f" {remedy(settings, dag_id)}"
        )
    return (
        f"dbt did not end in time: {_limit_text(settings, dag_id)}. Its statements in PostgreSQL were cancelled; the"
        " models that have ended are kept, and the next run takes up the others. If it needs that long again,"
        f" {remedy(settings, dag_id)}"
    )


def run_time_limit_text(settings: Settings, dag_id: str, task_id: str) -> str:
    """The sentence about a run that Airflow has ended.

    :param task_id: what was at work last; empty where that is not known.
    """
    at_work = f" while {task_id} was at work" if task_id else ""
    return (
        f"Airflow ended the run{at_work}, because {_limit_text(settings, dag_id)}. What was stored by then is kept, and"
        f" the next run goes on. If it needs that long again, {remedy(settings, dag_id)}."
    )


def _limit_text(settings: Settings, dag_id: str) -> str:
    found = limit_of(settings, dag_id)
    if found is None:
        return f"the time limit of the DAG {dag_id} is over"
    name, minutes = found
    return f"a run of {dag_id} may take {name}={minutes} minutes"
