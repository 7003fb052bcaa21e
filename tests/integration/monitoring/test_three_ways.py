"""Page, alerts and metrics tell the same of the same tables."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest

from cht_sync.monitoring.alerts.condition import conditions, hidden
from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.metrics.collect import DestinationCollector
from cht_sync.monitoring.sentences import CATALOGUE
from cht_sync.monitoring.web.status import read_status
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.tasks import alerts as tasks
from tests.integration.conftest import Database
from tests.integration.monitoring.states import NAMES, STATES
from tests.servers import mine

pytestmark = pytest.mark.integration
NAME = mine("cht_three_ways")
TABLES = (
    "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables"
    " where schemaname = 'v1' and tablename <> 'couchdb_migration' and tablename !~ 'lock$'"
)


@pytest.fixture(scope="module")
def prepared(postgres_server):
    postgres_server.create_database(NAME)
    database = Database(postgres_server.dsn(NAME), NAME)
    with pytest.MonkeyPatch.context() as patch:
        database.name_it(postgres_server, patch)
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.prepare()
    return database


@pytest.fixture
def database(prepared, postgres_server, monkeypatch):
    prepared.name_it(postgres_server, monkeypatch)
    prepared.rows(f"truncate {prepared.value(TABLES)}")
    return prepared


class Told:
    """What each of the three tells."""

    def __init__(self, case):
        settings, now, (dag, copied) = Settings(), datetime.now(UTC), case.airflow()
        self.page = read_status(dag, copied, now)
        findings, unknown = tasks.find_all(settings, list(copied), now, Limits.of(settings, now))
        self.alerts, self.hidden = {(each.kind, each.subject) for each in conditions(findings)}, hidden(unknown)
        self.metrics = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in DestinationCollector(dag, copied).collect()
            for sample in family.samples
        }

    @property
    def remarks(self):
        return Counter((each.kind, each.state) for each in self.page.verdict.remarks)

    def metric(self, name, label="source"):
        return {dict(labels)[label]: value for (found, *labels), value in self.metrics.items() if found == name}

    def told(self, alert):
        return {subject for kind, subject in self.alerts if kind == alert}

    def check(self):
        """That they do not contradict each other."""
        shown, page = set(self.remarks), {each.source: each for each in self.page.sources}
        counted = {
            (dict(labels)["kind"], dict(labels)["state"])
            for (name, *labels), number in self.metrics.items()
            if name == "cht_sync_findings" and number > 0
        }
        names = {kind.value: each.shown for kind, each in CATALOGUE.items()}
        assert {(names[kind], state) for kind, state in counted} == shown
        # Who is woken sees why on the page.
        assert self.page.verdict.state != "ok" or {kind for kind, _ in self.alerts} <= {"first_load", "forms"}
        for alert in (
            "quarantine",
            "proof",
            "reconciliation_overdue",
            "doubt",
            "guard",
            "models",
            "collision",
            "older_revision",
            "forms",
        ):
            kinds = {each.shown for each in CATALOGUE.values() if each.alert == alert}
            if self.told(alert):
                assert kinds & {kind for kind, _ in shown}, alert
            elif alert not in {"older_revision", "forms"}:  # told once it lasts, or as long as it is new
                assert not kinds & {kind for kind, _ in shown}, alert
        counts = {name for name in page if page[name].copied or self.told("quarantine")}
        down = {
            f"{dict(labels)['cht_instance']}/{dict(labels)['db']}".rstrip("/")
            for (name, *labels), up in self.metrics.items()
            if name == "couch2pg_up" and not up
        }
        assert down == self.told("source") & {name for name in page if page[name].looked_at}
        assert self.told("proof") == {
            name for name, equal in self.metric("cht_sync_proof_equal").items() if not equal and name in counts
        }
        assert self.told("quarantine") == {
            name for name in counts if self.metric("cht_sync_quarantined_documents").get(name)
        }
        assert self.told("quarantine") == {name for name in counts if page[name].quarantined}
        assert self.told("doubt") == self.metric("cht_sync_source_in_doubt").keys()
        assert bool(self.told("collision")) == bool(self.metric("cht_sync_documents_of_gone_owner"))
        assert self.told("older_revision") <= self.metric("cht_sync_older_revisions").keys()
        failing, guarded = (self.metric(f"cht_sync_model_{each}", "model") for each in ("failing", "guarded"))
        assert (
            bool(self.told("models"))
            == any(failing.values())
            == any(each.word == "Failing" for each in self.page.models)
        )
        assert bool(self.told("guard")) == any(guarded.values())
        assert bool(self.metric("cht_sync_removed_relation", "relation")) == ("removed" in {kind for kind, _ in shown})


@pytest.mark.parametrize("name", STATES)
def test_the_three_tell_the_same(database, monkeypatch, name):
    case = STATES[name]
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value)
    database.rows(case.statements())
    told = Told(case)
    assert dict(told.remarks.keys()) == case.page
    assert {kind for kind, _ in told.alerts} == case.alerts
    assert told.page.verdict.state == case.state
    assert told.hidden == set()
    told.check()


@pytest.mark.parametrize("source", NAMES)
def test_a_name_decides_nothing(database, source):
    for name in ("well", "proof differs", "not read for long", "a source in doubt", "a task that fails for long"):
        database.rows(f"truncate {database.value(TABLES)}")
        case = STATES[name].named(source)
        database.rows(case.statements())
        told = Told(case)
        told.check()
        database.rows(f"truncate {database.value(TABLES)}")
        database.rows(STATES[name].statements())
        usual = Told(STATES[name])
        assert (told.remarks, {kind for kind, _ in told.alerts}) == (usual.remarks, {kind for kind, _ in usual.alerts})
        headline = told.page.verdict.headline.replace(source, usual.page.sources[0].source)
        assert headline == usual.page.verdict.headline


@pytest.mark.parametrize(
    ("table", "parts", "alerts"),
    [
        ("couchdb_progress", {"sources", "collisions", "doubts"}, {"source", "behind", "collision", "doubt"}),
        ("couchdb_quarantine", {"quarantine"}, {"quarantine"}),
        ("couchdb_reconciliation", {"proofs"}, {"proof", "reconciliation_overdue"}),
        ("couchdb_model_result", {"models"}, {"models", "guard"}),
        ("couchdb_deployment", {"removed"}, set()),
        ("form_definition", {"forms"}, set()),
        ("form_notice", {"form_notices"}, {"forms"}),
    ],
)
def test_what_a_stranger_locks_is_not_known_to_any_of_them(database, monkeypatch, table, parts, alerts):
    looking = tasks.opened
    monkeypatch.setattr(tasks, "opened", lambda *args, **kwargs: looking(*args, **{**kwargs, "lock_s": 0.3}))
    case = STATES["quarantine"]
    database.rows(case.statements())
    with closing(psycopg2.connect(database.dsn, application_name="vacuum")) as conn, conn.cursor() as cursor:
        cursor.execute(f"lock table v1.{table} in access exclusive mode")
        told = Told(case)
        conn.rollback()
    known = told.metric("cht_sync_part_known", "part")
    assert (
        {each.part for each in told.page.unknown} == {part for part, is_known in known.items() if not is_known} == parts
    )
    assert told.hidden == alerts
    assert told.told("unknown")
    assert ("part", "unknown") in told.remarks
    assert ("quarantine" in {kind for kind, _ in told.alerts}) == (table != "couchdb_quarantine")
