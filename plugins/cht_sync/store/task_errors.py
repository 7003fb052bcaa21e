"""The table ``couchdb_task_error``: the sentence of each task that fails now, until it succeeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.settings.connections import with_extra
from cht_sync.settings.settings import RawTable

CONNECT_S = 3
STATEMENT_TIMEOUT, LOCK_TIMEOUT = "2s", "1s"
LONGEST = 4000
NOT_RUN = {"", "None", "none", "skipped", "upstream_failed", "removed", "scheduled", "queued"}
_RECORD = """
insert into {schema}.couchdb_task_error as known
    (dag_id, task_id, subject, message, run_id, map_index, tried_again)
values (%(dag_id)s, %(task_id)s, %(subject)s, %(message)s, %(run_id)s, %(map_index)s, %(tried_again)s)
on conflict (dag_id, task_id, subject) do update
set message = excluded.message, tries = known.tries + 1, last_at = now(), run_id = excluded.run_id,
    map_index = excluded.map_index, tried_again = excluded.tried_again
"""
_FORGET = "delete from {schema}.couchdb_task_error where dag_id = %s and task_id = %s and subject = %s"
_FORGET_SUBJECT = "delete from {schema}.couchdb_task_error where subject = %s"
_FORGET_DAG = "delete from {schema}.couchdb_task_error where dag_id = %s"
_FORGET_GROUP = "delete from {schema}.couchdb_task_error where dag_id = %s and starts_with(task_id, %s)"
_NOTED = "select task_id, map_index from {schema}.couchdb_task_error where dag_id = %s and run_id = %s"
_OTHER_RUNS = "select distinct task_id from {schema}.couchdb_task_error where dag_id = %s and run_id <> %s"
_FORGET_OTHER_RUNS = """
delete from {schema}.couchdb_task_error where dag_id = %s and run_id <> %s and task_id = any(%s)
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """One try of a task that failed.

    :param subject: what it works on, such as a source or a model; empty where there is one.
    :param map_index: number of the instance of a mapped task, else -1.
    :param tried_again: whether Airflow tries it again in the same run.
    """

    dag_id: str
    task_id: str
    subject: str
    message: str
    run_id: str
    map_index: int = -1
    tried_again: bool = False


class TaskErrors:
    """The table. A server that does not answer is given up within seconds: who writes here has failed or is done."""

    def __init__(self, connection: Connection, raw: RawTable) -> None:
        self._connection = with_extra(connection, {"connect_timeout": CONNECT_S})
        self._names = Names(raw.schema)

    def record(self, failure: Failure) -> bool:
        """Notes a failure in place of the one before; False where the first copy has not made the table yet."""
        values = {name: getattr(failure, name) for name in Failure.__slots__}
        with self._cursor() as cursor:
            if cursor:
                self._names.execute(cursor, _RECORD, {**values, "message": failure.message[:LONGEST]})
        return cursor is not None

    def forget(self, dag_id: str, task_id: str, subject: str) -> None:
        """Drops the row of a task that has succeeded."""
        self._execute(_FORGET, dag_id, task_id, subject)

    def forget_dag(self, dag_id: str) -> None:
        """Drops all rows of a DAG of which nothing is left to fail."""
        self._execute(_FORGET_DAG, dag_id)

    def forget_group(self, dag_id: str, group_id: str) -> None:
        """Drops the rows of all tasks of a task group, which have ended well."""
        self._execute(_FORGET_GROUP, dag_id, f"{group_id}.")

    def _execute(self, text: str, *values: str) -> None:
        with self._cursor() as cursor:
            if cursor:
                self._names.execute(cursor, text, values)

    def end_run(self, dag_id: str, run_id: str, states: Mapping[str, str]) -> set[tuple[str, int]]:
        """Drops what earlier runs have left of tasks that ran again: what fails still, this run has noted again.

        So a source, a model or a part that is not there any more does not stay an error for ever.

        :param states: state by task of the run, mapped ones as ``sync_0``.
        :return: task and number of its instance, of what this run has noted.
        """
        with self._cursor() as cursor:
            if not cursor:
                return set()
            others = self._names.execute(cursor, _OTHER_RUNS, (dag_id, run_id)).fetchall()
            if over := [task for (task,) in others if _has_run(task, states)]:
                self._names.execute(cursor, _FORGET_OTHER_RUNS, (dag_id, run_id, over))
            return set(self._names.execute(cursor, _NOTED, (dag_id, run_id)))

    @contextmanager
    def _cursor(self) -> Iterator[Cursor | None]:
        """A cursor in a transaction; None where the table is not there, since only the copy makes tables."""
        with (
            explained(self._connection, "note what fails"),
            closing(connect(self._connection, "cht_sync task error")) as conn,
            conn,
            conn.cursor() as cursor,
        ):
            cursor.execute(
                "select set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                (STATEMENT_TIMEOUT, LOCK_TIMEOUT),
            )
            yield cursor if relation_exists(cursor, self._names.schema, "couchdb_task_error") else None


def forget_subject(cursor: Cursor, schema: str, subject: str) -> None:
    """Drops what is noted of a source in any DAG."""
    Names(schema).execute(cursor, _FORGET_SUBJECT, (subject,))


def _has_run(task: str, states: Mapping[str, str]) -> bool:
    """Whether a task ran in a run to whatever end, or does not belong to it any more."""
    own = [state for name, state in states.items() if name == task or _is_instance(name, task)]
    return not own or any(str(state) not in NOT_RUN for state in own)


def _is_instance(name: str, task: str) -> bool:
    return name.startswith(f"{task}_") and name[len(task) + 1 :].isdigit()
