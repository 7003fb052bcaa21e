"""The task of the DAG ``cht_alerts``, and what other DAGs tell it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Variable, task
from psycopg2.extensions import cursor as Cursor

from cht_sync.callbacks.error_in_log import silence
from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import SettingsError, StoreError
from cht_sync.monitoring.alerts.channels import channels, send
from cht_sync.monitoring.alerts.condition import Condition, conditions, hidden
from cht_sync.monitoring.alerts.incidents import Incident, Incidents
from cht_sync.monitoring.alerts.message import Message
from cht_sync.monitoring.alerts.sentences import ALERTS
from cht_sync.monitoring.destination import Destination, opened
from cht_sync.monitoring.finding import Finding, Limits
from cht_sync.monitoring.health import judge
from cht_sync.monitoring.parts import LOCKED, SLOW, Unknown
from cht_sync.monitoring.reader import read
from cht_sync.monitoring.source_state import is_gone_by
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import POSTGRES_EXTRA, postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore

log = logging.getLogger(__name__)
# Told by the tasks of the deployment themselves; Postgres by who cannot reach it.
_TOLD_BY_OTHERS = {"deployment", "postgres"}
# Where Postgres does not answer it cannot keep what people were told.
_VARIABLES = {"postgres": "cht_alerts_postgres_down_since", "unknown": "cht_alerts_locked_since"}
_SUBJECTS = {"postgres": "PostgreSQL", "unknown": "couchdb_incident"}
_OVER = {"postgres": "It answers.", "unknown": "Incidents can be written again."}
_READ_INCIDENTS = "select from {schema}.couchdb_incident limit 1"
STATEMENT_TIMEOUT = "60s"


@task(
    task_id="alert",
    task_display_name="alert: send what is new",
    retries=0,
    doc_md="Reads the tables of the sync and sends alerts for what is new.",
)
def alert() -> int:
    """Sends alerts that were not sent yet.

    :return: messages that went out.
    :raises SettingsError: if a setting of alerts cannot be used.
    """
    settings = Settings()
    settings.check()
    try:
        sent = tell(settings)
    except (SettingsError, StoreError) as error:  # one that refuses a password is as good as gone
        if getattr(error, "code", "") in {LOCKED, SLOW}:  # it answers; who is told of what cannot be kept meanwhile
            return _is_over(settings, "postgres") + _is_the_case(settings, "unknown", _in_the_way(settings, str(error)))
        return _is_the_case(settings, "postgres", str(error))
    return sent + _is_over(settings, "postgres") + _is_over(settings, "unknown")


def tell(settings: Settings) -> int:
    """Judges what is the case and sends what is new.

    :raises StoreError: if Postgres does not answer.
    """
    incidents, open_channels, sent = Incidents(settings.raw_table.schema), channels(settings), 0
    if not _prepared(settings):
        log.info("Nothing was copied yet.")
        return 0
    now = datetime.now(UTC)
    limits = Limits.of(settings, now)
    found, unsure = _conditions(settings, now, limits)
    with _transaction(settings) as cursor:
        incidents.judge(cursor, found, ALERTS.keys() - _TOLD_BY_OTHERS - unsure)
        incidents.prune(cursor, settings.ledger_days)
        news = incidents.to_tell(cursor, open_channels, limits.patience(now))
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
    from airflow.configuration import conf

    base_url = str(conf.get("api", "base_url", fallback="") or "http://localhost:8080")
    return Message.about(incidents, base_url, settings.models_dag)


def _prepared(settings: Settings) -> bool:
    """Whether anything was copied yet; brings the tables up to date, as after an upgrade the copy may be what fails."""
    raw = settings.raw_table
    with _transaction(settings) as cursor:
        if not relation_exists(cursor, raw.schema, "couchdb_migration"):
            return False
    with DocumentStore(postgres_connection(settings), raw, "cht_alerts") as store:
        store.prepare()
    return True


def _conditions(settings: Settings, now: datetime, limits: Limits) -> tuple[list[Condition], set[str]]:
    """What is the case, and alerts of which nobody can say."""
    sources: list[str] | None = None
    bad: list[Condition] = []
    try:
        sources = [source["source"] for source in configured_sources(settings)]
    except SettingsError as error:
        # Which sources there are to be is not known: one that fails is not well because of that.
        bad = [Condition("settings", "settings", str(error))]
    findings, unknown = find_all(settings, sources, now, limits)
    unsure = {"source", "behind", "collision"} if bad else set()
    found = [each for each in conditions(findings) if each.kind not in unsure]
    return bad + found, hidden(unknown) | unsure


def find_all(
    settings: Settings, sources: list[str] | None, now: datetime, limits: Limits
) -> tuple[list[Finding], list[Unknown]]:
    """What health finds in the destination, and what could not be read.

    :param sources: names of those that are to be copied; None where that is not known.
    """
    with _looking(settings) as destination:
        facts = read(destination, now, sources or (), is_gone_by(sources), incidents=True)
        return judge(facts, {}, now, limits), facts.unknown


def _looking(settings: Settings) -> AbstractContextManager[Destination]:
    """A session that reads, and that has more time than a person who waits for a page."""
    return opened(
        postgres_connection(settings),
        settings,
        "read what alerts are about",
        application="cht_alerts",
        connect_s=POSTGRES_EXTRA["connect_timeout"],
        statement_s=60,
        lock_s=10,
        all_s=240,
    )


def _in_the_way(settings: Settings, said: str) -> str:
    """Who keeps incidents from being written, where that is found."""
    with suppress(SettingsError, StoreError), _looking(settings) as destination:
        destination.ask("incidents", lambda: destination.rows(_READ_INCIDENTS), None)
        return next((each.text for each in destination.unknown), said)
    return said


def deployment_failed(context: Any) -> None:
    """Notes that a deployment failed; of Airflow's ``on_failure_callback``."""
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
        log.warning("The result of the deployment could not be recorded for alerts (%s).", type(error).__name__)


@contextmanager
def _transaction(settings: Settings) -> Iterator[Cursor]:
    doing = "read and write couchdb_incident"
    with transaction(postgres_connection(settings), "cht_alerts", doing) as cursor:
        cursor.execute("select set_config('statement_timeout', %s, true)", (STATEMENT_TIMEOUT,))
        yield cursor


def _is_the_case(settings: Settings, kind: str, said: str) -> int:
    """Tells of what keeps incidents from being written, and remembers that in Airflow's variable."""
    known = _known(kind)
    if known:
        log.warning("%s still: %s", ALERTS[kind].title, said)
    known = known or {"since": datetime.now(UTC).isoformat(), "told": []}
    since = datetime.fromisoformat(known["since"])
    if kind == "unknown" and datetime.now(UTC) - since < timedelta(minutes=settings.alert_failing_minutes):
        Variable.set(_VARIABLES[kind], json.dumps(known))
        return 0
    return _tell_without_table(settings, Incident(0, kind, _SUBJECTS[kind], said, since, None, recovered=False), known)


def _is_over(settings: Settings, kind: str) -> int:
    known = _known(kind)
    if not known:
        return 0
    if kind == "unknown" and not known["told"] and "back" not in known:
        Variable.delete(_VARIABLES[kind])  # nobody was told
        return 0
    if "back" not in known:
        known |= {"back": datetime.now(UTC).isoformat(), "told": []}
    since, until = (datetime.fromisoformat(known[name]) for name in ("since", "back"))
    incident = Incident(0, kind, _SUBJECTS[kind], _OVER[kind], since, until, recovered=True)
    sent = _tell_without_table(settings, incident, known)
    told_all = channels(settings).keys() <= set(known["told"])
    if told_all or datetime.now(UTC) - until > timedelta(days=1):
        Variable.delete(_VARIABLES[kind])
    return sent


def _known(kind: str) -> dict[str, Any]:
    return json.loads(Variable.get(_VARIABLES[kind], default=None) or "{}")


def _tell_without_table(settings: Settings, incident: Incident, known: dict[str, Any]) -> int:
    """Tells those who were not told, and keeps in Airflow's variable who was."""
    before, variable = len(known["told"]), _VARIABLES[incident.kind]
    Variable.set(variable, json.dumps(known))
    for channel in send(channels(settings), _message(settings, [incident]), known["told"]):
        known["told"].append(channel)
        Variable.set(variable, json.dumps(known))
    return len(known["told"]) - before
