"""The task of the DAG ``cht_alerts``, and what other DAGs tell it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Variable, task

from cht_sync.alerts.channels import send
from cht_sync.alerts.condition import KINDS, Condition
from cht_sync.alerts.conditions import Conditions
from cht_sync.alerts.incidents import Incident, Incidents
from cht_sync.alerts.message import Message
from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres import regclass_text, transaction
from cht_sync.settings import Settings
from cht_sync.sources import configured_sources

log = logging.getLogger(__name__)
# Told by the tasks of the deployment themselves; Postgres by who cannot reach it.
_TOLD_BY_OTHERS = {"deployment", "postgres"}
# Where Postgres does not answer it cannot keep what people were told.
POSTGRES_DOWN = "cht_alerts_postgres_down_since"
STATEMENT_TIMEOUT = "60s"


@task(task_id="alert", retries=0, doc_md="Looks at the tables of the sync and tells what is new.")
def alert() -> int:
    """Tells people what they do not know yet.

    :return: messages that went out.
    :raises SettingsError: if a setting of alerts cannot be used.
    """
    settings = Settings()
    settings.check()
    try:
        sent = tell(settings)
    except StoreError as error:
        return _postgres_is_down(settings, str(error))
    return sent + _postgres_is_back(settings)


def tell(settings: Settings) -> int:
    """Judges what is the case and sends what is new.

    :param settings: the environment.
    :return: messages that went out.
    :raises StoreError: if Postgres does not answer.
    """
    incidents, sent = Incidents(settings.raw_table.schema), 0
    with _transaction(settings) as cursor:
        cursor.execute("select to_regclass(%s)", (regclass_text(settings.raw_table.schema, "couchdb_incident"),))
        if cursor.fetchone()[0] is None:
            log.info("Nothing was copied yet.")
            return 0
        conditions, unknown = _conditions(cursor, settings)
        incidents.judge(cursor, conditions, KINDS.keys() - _TOLD_BY_OTHERS - unknown)
        incidents.prune(cursor, settings.ledger_days)
    with _transaction(settings) as cursor:
        news = incidents.to_tell(cursor)
    for incident in news:
        if send(settings, Message.about(incident, _base_url())):
            sent += 1
            # Each by itself: one that is killed here repeats one message at most.
            with _transaction(settings) as cursor:
                incidents.told(cursor, incident)
    log.info("%d messages of %d went out.", sent, len(news))
    return sent


def _conditions(cursor: Any, settings: Settings) -> tuple[list[Condition], set[str]]:
    """What is the case, and kinds of which nobody can say."""
    try:
        sources = [source["source"] for source in configured_sources(settings)]
    except SettingsError as error:
        # Which sources there are to be is not known: one that fails is not well because of that.
        return [Condition("settings", "settings", str(error)), *Conditions(cursor, settings).all([])], {"source"}
    return Conditions(cursor, settings).all(sources), set()


def deployment_failed(context: Any) -> None:
    """Notes that a deployment failed; of Airflow's ``on_failure_callback``.

    :param context: Airflow's.
    """
    name = context["ti"].task_id
    _note(Condition("deployment", "dbt project", f"The task {name} of cht_pipeline_deploy failed."))


def deployment_worked(_context: Any = None) -> None:
    """Notes that the version in use is the one wanted; also Airflow's ``on_success_callback`` of the last task."""
    _note(None)


def _note(condition: Condition | None) -> None:
    """A callback must not fail what it is about."""
    try:
        settings = Settings()
        with _transaction(settings) as cursor:
            Incidents(settings.raw_table.schema).judge(cursor, [condition] if condition else [], ["deployment"])
    except Exception as error:
        log.warning("The end of the deployment could not be noted for alerts (%s).", type(error).__name__)


@contextmanager
def _transaction(settings: Settings) -> Iterator[Any]:
    doing = "read and write couchdb_incident"
    with transaction(postgres_connection(settings), "cht_alerts", doing) as cursor:
        cursor.execute("select set_config('statement_timeout', %s, true)", (STATEMENT_TIMEOUT,))
        yield cursor


def _postgres_is_down(settings: Settings, said: str) -> int:
    if Variable.get(POSTGRES_DOWN, default=None):
        log.warning("PostgreSQL still does not answer: %s", said)
        return 0
    now = datetime.now(UTC)
    message = Message.about(Incident(0, "postgres", "PostgreSQL", said, now, None, recovered=False), _base_url())
    if not send(settings, message):
        return 0
    Variable.set(POSTGRES_DOWN, now.isoformat())
    return 1


def _postgres_is_back(settings: Settings) -> int:
    since = Variable.get(POSTGRES_DOWN, default=None)
    if not since:
        return 0
    now = datetime.now(UTC)
    incident = Incident(0, "postgres", "PostgreSQL", "It answers.", datetime.fromisoformat(since), now, recovered=True)
    if not send(settings, Message.about(incident, _base_url())):
        return 0
    Variable.delete(POSTGRES_DOWN)
    return 1


def _base_url() -> str:
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080")
