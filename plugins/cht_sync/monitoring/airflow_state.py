"""What Airflow knows of the DAGs of this package, and errors of their tasks, as values."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

SYNC = ("cht_sync", "sync")


class TaskError(BaseModel):
    """Error of a task that fails now."""

    dag_id: str
    task_id: str
    subject: str = Field(default="", description="A source or a model; empty where there is one.")
    message: str
    tries: int
    first_at: datetime
    last_at: datetime
    link: str = Field(default="", description="Of the task in Airflow's UI, relative to its root.")

    @property
    def is_sync(self) -> bool:
        """Whether it is the task that copies a source."""
        return (self.dag_id, self.task_id) == SYNC

    @property
    def name(self) -> str:
        """Task id and, of a mapped task, what it is about."""
        return f"{self.task_id} ({self.subject})" if self.subject else self.task_id


class Task(BaseModel):
    """One task instance of Airflow."""

    name: str
    state: str | None
    link: str
    retrying_since: datetime | None = Field(
        default=None, description="When the first try of the newest run failed, while another one is still to come."
    )


class Run(BaseModel):
    """A run of a DAG."""

    run_id: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    link: str
    failed: list[Task] = Field(default=[], description="Up to ten tasks that failed.")


class Dag(BaseModel):
    """The DAG ``cht_sync``, as Airflow knows it."""

    exists: bool = False
    paused: bool = False
    next_run_at: datetime | None = None
    run: Run | None = Field(default=None, description="The newest run, which may be under way.")
    ended: Run | None = Field(default=None, description="The newest run that has ended.")
    models_ended: Run | None = Field(
        default=None, description="The newest run of cht_models that has ended, where the models run there."
    )
    others_paused: list[str] = Field(default=[], description="Other DAGs of this package that are paused.")
    models_paused: bool = Field(default=False, description="Whether cht_models is paused, where the models run there.")
    succeeded_lately: bool = Field(default=False, description="Whether one of the newest runs succeeded.")
    scheduler_seen_at: datetime | None = Field(default=None, description="Newest heartbeat of a scheduler.")
    triggerer_seen_at: datetime | None = Field(default=None, description="Newest heartbeat of a triggerer.")
    needs_triggerer: bool = Field(default=False, description="Whether triggers wait, as in event mode.")

    @property
    def last(self) -> Run | None:
        """The newest run that has ended: one that has just begun tells nothing yet."""
        return self.ended or (self.run if self.run and self.run.state in {"success", "failed"} else None)
