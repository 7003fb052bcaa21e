"""The task of the DAG ``cht_alerts``, and what other DAGs tell it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Variable, task

from cht_sync.alerts.channels import channels, send
from cht_sync.alerts.condition import KINDS, Condition
from cht_sync.alerts.conditions import Conditions
from cht_sync.alerts.incidents import Incident, Incidents
from cht_sync.alerts.message import Message
from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.last_line import silence
from cht_sync.postgres import regclass_text, transaction
from cht_sync.settings import Settings
from cht_sync.sources import configured_sources
from cht_sync.store import DocumentStore

log = logging.getLogger(__name__)
# Told by the tasks of the deployment themselves; Postgres by who cannot reach it.
_TOLD_BY_OTHERS = {"deployment", "postgres"}
# Where Postgres does not answer it cannot keep what people were told.
POSTGRES_DOWN = "cht_alerts_postgres_down_since"
STATEMENT_TIMEOUT = "60s"


@task(
    task_id="alert",
    task_display_name="alert: tell what is new",
    retries=0,
    doc_md="Looks at the tables of the sync and tells what is new.",
)
def alert() -> int:
    """Tells people what they do not know yet.

    :return: messages that went out.
    :raises SettingsError: if a setting of alerts cannot be used.
    """
    settings = Settings()
    settings.check()
    try:
        sent = tell(settings)
    except (SettingsError, StoreError) as error:  # one that refuses a password is as good as gone
        return _postgres_is_down(settings, str(error))
    return sent + _postgres_is_back(settings)


def tell(settings: Settings) -> int:
    """Judges what is the case and sends what is new.

    :param settings: the environment.
    :return: messages that went out.
    :raises StoreError: if Postgres does not answer.
    """
    incidents, open_channels, sent = Incidents(settings.raw_table.schema), channels(settings), 0
    if not _prepared(settings):
        log.info("Nothing was copied yet.")
        return 0
    due = settings.read_since(datetime.now(UTC))
    with _transaction(settings) as cursor:
        conditions, unknown = _conditions(cursor, settings, due)
        incidents.judge(cursor, conditions, KINDS.keys() - _TOLD_BY_OTHERS - unknown)
        incidents.prune(cursor, settings.ledger_days)
        news = incidents.to_tell(cursor, open_channels, due)
    for together in _together(news):
        for channel in send(open_channels, _message(settings, together), together[0].told):
            sent += 1
            # Each by itself: one that is killed here repeats one message at most.
            with _transaction(settings) as cursor:
                incidents.told(cursor, together, channel)
    log.info("%d messages about %d incidents went out.", sent, len(news))
    return sent


def _together(news: list[Incident]) -> list[list[Incident]]:
    """What one message tells: a server that is gone takes all its databases with it."""
    groups: dict[Any, list[Incident]] = {}
    for incident in news:
        groups.setdefault((incident.kind, incident.recovered, tuple(sorted(incident.told))), []).append(incident)
    return list(groups.values())


def _message(settings: Settings, incidents: list[Incident]) -> Message:
    return Message.about(incidents, _base_url(), settings.models_dag)


def _prepared(settings: Settings) -> bool:
    """Whether anything was copied yet; brings the tables up to date, as after an upgrade the copy may be what fails."""
    raw = settings.raw_table
    with _transaction(settings) as cursor:
        cursor.execute("select to_regclass(%s)", (regclass_text(raw.schema, "couchdb_migration"),))
        if cursor.fetchone()[0] is None:
            return False
    with DocumentStore(postgres_connection(settings), raw, "cht_alerts") as store:
        store.prepare()
    return True


def _conditions(cursor: Any, settings: Settings, due: datetime) -> tuple[list[Condition], set[str]]:
    """What is the case, and kinds of which nobody can say."""
    try:
        sources = [source["source"] for source in configured_sources(settings)]
    except SettingsError as error:
        # Which sources there are to be is not known: one that fails is not well because of that.
        found = Conditions(cursor, settings, due).all([])
        return [Condition("settings", "settings", str(error)), *found], {"source", "behind"}
    return Conditions(cursor, settings, due).all(sources), set()


def deployment_failed(context: Any) -> None:
    """Notes that a deployment failed; of Airflow's ``on_failure_callback``.

    :param context: Airflow's.
    """
    name = context["ti"].task_id
    with silence():
        # The reason is the last line of the log already.
        _note(Condition("deployment", "dbt project", f"The task {name} of cht_pipeline_deploy failed."))


def deployment_worked() -> None:
    """Notes that the version in use is the one wanted."""
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
    known = _known()
    if known:
        log.warning("PostgreSQL still does not answer: %s", said)
    known = known or {"since": datetime.now(UTC).isoformat(), "told": []}
    since = datetime.fromisoformat(known["since"])
    return _tell_of_postgres(settings, Incident(0, "postgres", "PostgreSQL", said, since, None, recovered=False), known)


def _postgres_is_back(settings: Settings) -> int:
    known = _known()
    if not known:
        return 0
    if "back" not in known:
        known |= {"back": datetime.now(UTC).isoformat(), "told": []}
    since, until = (datetime.fromisoformat(known[name]) for name in ("since", "back"))
    incident = Incident(0, "postgres", "PostgreSQL", "It answers.", since, until, recovered=True)
    sent = _tell_of_postgres(settings, incident, known)
    told_all = channels(settings).keys() <= set(known["told"])
    if told_all or datetime.now(UTC) - until > timedelta(days=1):
        Variable.delete(POSTGRES_DOWN)
    return sent


def _known() -> dict[str, Any]:
    return json.loads(Variable.get(POSTGRES_DOWN, default=None) or "{}")


def _tell_of_postgres(settings: Settings, incident: Incident, known: dict[str, Any]) -> int:
    """Tells those who were not told, and keeps in Airflow's variable who was."""
    before = len(known["told"])
    Variable.set(POSTGRES_DOWN, json.dumps(known))
    for channel in send(channels(settings), _message(settings, [incident]), known["told"]):
        known["told"].append(channel)
        Variable.set(POSTGRES_DOWN, json.dumps(known))
    return len(known["told"]) - before


def _base_url() -> str:
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080")
