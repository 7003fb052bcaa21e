"""States of the tables of the sync, and what is to be told of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cht_sync.monitoring.airflow_state import Dag, Run, Task

MEDIC = "couch/medic"
# A copy with which nothing is wrong.
WELL = """
insert into v1.couchdb_progress (source, seq, pending, updated_at, drained_at) values ('{source}', '7-a', 0, now(), now());
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)
    values ((now() at time zone 'utc') - interval '3 hours', 'a', false, '{source}', '{{}}');
insert into v1.couchdb_model_run (models_schema, models, modelled_to, newest, succeeded_at)
    select 'v1', '', max(saved_timestamp), max(saved_timestamp), now() from v1.couchdb;
insert into v1.couchdb_model_result (models_schema, model, name, status) values ('v1', 'm.contact', 'contact', 'success');
insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)
    values ('first', '{source}', 'range 1', now() - interval '9 hours', now() - interval '8 hours', 'equal')
"""
QUARANTINED = """
insert into v1.couchdb_quarantine (source, key, _id, seq, body, body_bytes, reason, first_seen, last_seen, attempts)
    values ('{source}', '\\x01', 'x', '1', 'x', 1, 'odd', now(), now(), 1)
"""
PROOF = """
insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)
    values ('{run}', '{source}', '{part}', now() - interval '{planned}', now() - interval '{planned}', {verdict})
"""
RESULT = """
insert into v1.couchdb_model_result (models_schema, model, name, status, failing_since, held)
    values ('v1', 'm.{name}', '{name}', '{status}', {since}, {held})
"""
TASK = """
insert into v1.couchdb_task_error (dag_id, task_id, subject, message, tries, first_at, last_at) values
    ('{dag}', '{task}', '{subject}', 'It did not answer.', 2, now() - interval '{ago}', now() + interval '1 s')
"""
NOTICE = (
    "insert into v1.form_notice (code, deployment, notice, made_at)"
    " values ('visit', 'x', 'form visit: 1 new field (a)', now() - interval '{ago}')"
)
DEPLOYED = """
insert into v1.couchdb_deployment (models_schema, models, version, source, revision, held, removed)
    values ('v1', '', 'v', 's', 'r', {held}, {removed})
"""
RENAMED = """
update v1.couchdb set source = 'old/medic';
insert into v1.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)
    values ('\\x01', 'a', '{source}', false, '{{}}', now())
"""


def a_proof(verdict, run="second", planned="1 hour", part="range 1"):
    said = f"'{verdict}'" if verdict else "null"
    return PROOF.format(run=run, source="{source}", part=part, planned=planned, verdict=said)


def a_result(name, status="success", since="null", held="null"):
    return RESULT.format(name=name, status=status, since=since, held=held)


def a_task(dag, task, subject="", ago="20 minutes"):
    return TASK.format(dag=dag, task=task, subject=subject, ago=ago)


@dataclass(frozen=True)
class Case:
    """One state.

    :param sql: what makes it, with ``{source}``; after ``WELL``.
    :param page: kinds of the page's remarks with their states.
    :param alerts: names of the alerts.
    :param state: of the page.
    :param source: what the source is called.
    :param environment: settings.
    :param dag: changes of what Airflow knows.
    :param task: how the source's task ended; None for a source that no run copies any more.
    :param base: what is there before.
    """

    sql: str = ""
    page: dict[str, str] = field(default_factory=dict)
    alerts: set[str] = field(default_factory=set)
    state: str = "ok"
    source: str = MEDIC
    environment: dict[str, str] = field(default_factory=dict)
    dag: dict[str, object] = field(default_factory=dict)
    task: str | None = "success"
    base: str = WELL

    def statements(self):
        return (self.base + ";select 1;" + self.sql).replace("{source}", self.source).replace("{{}}", "{}")

    def named(self, source):
        return replace(self, source=source)

    def airflow(self):
        now = datetime.now(UTC)
        ended = Run(run_id="r", state="success", started_at=now, ended_at=now, link="r")
        known = {
            "exists": True,
            "next_run_at": now + timedelta(minutes=1),
            "run": ended,
            "succeeded_lately": True,
            **self.dag,
        }
        tasks = {self.source: Task(name="sync", state=self.task, link="t")} if self.task else {}
        if isinstance(known["next_run_at"], timedelta):
            known["next_run_at"] += now
        return Dag(**known), tasks


def progress(looked="now()", drained="now()", pending="0"):
    return f"update v1.couchdb_progress set updated_at = {looked}, drained_at = {drained}, pending = {pending}"


def ago(minutes):
    return f"now() - interval '{minutes} minutes'"


LONG_AGO = "update v1.couchdb_reconciliation set planned_at = now() - interval '60 days', finished_at = now() - interval '60 days'"
FIRST_READ = (
    "insert into v1.couchdb_window"
    " (id, source, started_at, ended_at, pages, documents, tombstones, changed, quarantined, bytes, seconds)"
    " values (gen_random_uuid(), '{source}', now() - interval '3 days', now() - interval '3 days', 1, 1, 0, 1, 0, 9, 1)"
)
BEHIND, SOON = {"behind": "behind"}, {"next_run_at": timedelta(minutes=50)}
FAILED = {"run": Run(run_id="r", state="failed", started_at=None, ended_at=datetime.now(UTC), link="r")}
STATES = {
    "well": Case(),
    "empty database": Case(base="", page={"start": "empty"}, state="empty", task=None),
    "a source that was never read": Case(base="", page={"unread": "loading"}, alerts={"source"}, state="loading"),
    "first load": Case(progress(drained="null", pending="70000"), {"loading": "loading"}, state="loading"),
    "first load that stands still": Case(
        progress(ago(20), "null", "70000"), BEHIND, {"source"}, "behind",
    ),
    "first load by ranges": Case(
        progress(drained="null", pending="null") + ";insert into v1.couchdb_first_load (source, part, documents, expected, seq)"
        " values ('{source}', 'range 001', 3, 9, '1')",
        {"loading": "loading"}, state="loading",
    ),
    "first load that was proven today": Case(
        "insert into v1.couchdb_first_load (source, part, done, documents, seq, finished_at, proven_at)"
        " values ('{source}', 'range 001', true, 9, '1', now(), now())",
        alerts={"first_load"},
    ),
    "not read for long": Case(progress(ago(16), ago(16)), BEHIND, {"source"}, "behind"),
    "not read for long, and changes wait": Case(
        progress(ago(70), ago(70), "7"), BEHIND, {"source", "behind"}, "behind"
    ),
    "a few changes have waited for minutes": Case(progress(drained=ago(20), pending="7"), BEHIND, state="behind"),
    "behind": Case(progress(drained=ago(61), pending="70000"), BEHIND, {"behind"}, "behind"),
    "behind, and nobody knows how far": Case(progress(drained=ago(61), pending="null"), BEHIND, {"behind"}, "behind"),
    "behind, but not by the settings": Case(
        progress(drained=ago(61), pending="7"), environment={
            "CHT_ALERT_FAILING_MINUTES": "90", "CHT_ALERT_FRESHNESS_MINUTES": "90"},
    ),
    "missed sooner by the settings": Case(
        progress(ago(6), ago(6)), BEHIND, {"source"}, "behind", environment={"CHT_ALERT_FAILING_MINUTES": "5"}
    ),
    "a rare schedule, between two runs": Case(
        progress(ago(50), ago(50)), environment={"CHT_SYNC_SCHEDULE": "0 0 1 1 *"}, dag=SOON
    ),
    "event mode, and nobody looks": Case(
        progress(ago(50), ago(50)), BEHIND, {"source"}, "behind", environment={"CHT_SYNC_MODE": "both"}, dag=SOON
    ),
    "clock ahead": Case(progress("now() + interval '1 day'", "now() + interval '1 day'", "7")),
    "a task that fails, told before Airflow knows": Case(
        a_task("cht_sync", "sync", "{source}"), {"retrying": "retrying"}, state="retrying"
    ),
    "a task that fails for long": Case(
        progress(ago(20), ago(20), "7") + ";" + a_task("cht_sync", "sync", "{source}"),
        {"retrying": "retrying"}, {"source"}, "retrying",
    ),
    "quarantine": Case(QUARANTINED, {"quarantine": "warning"}, {"quarantine"}, "warning"),
    "quarantine that is over": Case(QUARANTINED + ";update v1.couchdb_quarantine set resolved_at = now()"),
    "proof missing": Case("delete from v1.couchdb_reconciliation"),
    "reconciliation overdue": Case(
        LONG_AGO, {"reconciliation_overdue": "warning"}, {"reconciliation_overdue"}, "warning",
    ),
    "reconciliation overdue, but by hand only": Case(LONG_AGO, environment={"CHT_RECONCILE_SCHEDULE": "none"}),
    "reconciliation that is not due yet": Case(
        LONG_AGO.replace("60 days", "20 days"), environment={"CHT_RECONCILE_SCHEDULE": "0 0 1 1 *"}
    ),
    "never reconciled since it was first read": Case(
        f"delete from v1.couchdb_reconciliation;{FIRST_READ}",
        {"reconciliation_overdue": "warning"}, {"reconciliation_overdue"}, "warning",
    ),
    "never reconciled, and first read today": Case(
        f"delete from v1.couchdb_reconciliation;{FIRST_READ}".replace("3 days", "3 hours"),
    ),
    "verified by its first load": Case(
        f"delete from v1.couchdb_reconciliation;{FIRST_READ};"
        "insert into v1.couchdb_first_load (source, part, done, documents, seq, finished_at, proven_at)"
        " values ('{source}', 'range 001', true, 9, '1', now(), now())",
        alerts={"first_load"},
    ),
    "every reconciliation is skipped": Case(
        LONG_AGO.replace("60 days", "9 days") + ";" + a_proof("skipped"),
        {"reconciliation_overdue": "warning"}, {"reconciliation_overdue"}, "warning",
    ),
    "a reconciliation that runs for too long": Case(
        LONG_AGO + ";" + a_proof(None, planned="3 days"),
        {"reconciliation_overdue": "warning"}, {"reconciliation_overdue"}, "warning",
    ),
    "proof differs": Case(a_proof("differs"), {"proof": "warning"}, {"proof"}, "warning"),
    "proof in doubt": Case(a_proof("in doubt"), {"proof": "warning"}, {"proof"}, "warning"),
    "proof that differed long ago, and none since": Case(
        f"{LONG_AGO}, verdict = 'differs'",
        {"proof": "warning", "reconciliation_overdue": "warning"}, {"proof", "reconciliation_overdue"}, "warning",
    ),
    "proof repaired": Case(a_proof("repaired")),
    "proof skipped": Case(a_proof("skipped")),
    "proof running": Case(a_proof("differs") + ";" + a_proof(None, part="range 2")),
    "first proof running": Case("delete from v1.couchdb_reconciliation;" + a_proof("differs") + ";" + a_proof(None, part="b")),
    "proof planned but not ended, after one that differs": Case(
        a_proof("differs") + ";" + a_proof(None, "third", "1 minute"), {"proof": "warning"}, {"proof"}, "warning"
    ),
    "models behind": Case(
        "update v1.couchdb_model_run set modelled_to = modelled_to - interval '1 day'",
        {"models_behind": "behind"}, {"freshness"}, "behind",
    ),
    "models behind, but not by the settings": Case(
        "update v1.couchdb_model_run set modelled_to = modelled_to - interval '1 day'",
        environment={"CHT_ALERT_FRESHNESS_MINUTES": "600"},
    ),
    "models that never ran": Case(
        "delete from v1.couchdb_model_run", {"models_behind": "behind"}, {"freshness"}, "behind"
    ),
    "models that are built for the first time": Case(
        "delete from v1.couchdb_model_run; update v1.couchdb set saved_timestamp = now() at time zone 'utc'",
        {"models_loading": "loading"}, state="loading",
    ),
    "a model fails": Case(a_result("user", "error", "now()"), {"models": "failing"}, {"models"}, "failing"),
    "a model fails, and documents wait for it": Case(
        a_result("user", "error", "now()") + ";update v1.couchdb_model_run set modelled_to = modelled_to - interval '1 day'",
        {"models": "failing"}, {"models", "freshness"}, "failing",
    ),
    "a model waits for one that fails": Case(
        a_result("user", "error", "now()") + ";" + a_result("team", "skipped"), {"models": "failing"}, {"models"}, "failing"
    ),
    "a model has shrunk": Case(a_result("user", "shrunk", "now()"), {"shrunk": "failing"}, {"guard"}, "failing"),
    "a model is held back": Case(a_result("user", held="'waits'"), {"held": "failing"}, {"guard"}, "failing"),
    "a model is held back and fails": Case(
        a_result("user", "error", "now()", "'waits'"), {"models": "failing"}, {"models"}, "failing"
    ),
    "a model that nobody runs any more fails": Case(
        a_result("user", "error", "now()") + ";update v1.couchdb_model_result set ended_at = now() - interval '9 days'"
        " where name = 'user'",
    ),
    "a data test fails": Case(
        "insert into v1.couchdb_test_result (run, models_schema, test, model, status, failures, message)"
        " values ('r', 'v1', 't', 'contact', 'fail', 3, 'x');" + a_task("cht_data_tests", "tests.contact"),
        {"task": "warning"}, {"task"}, "warning",
    ),
    "a data test that is acknowledged fails": Case(
        "insert into v1.couchdb_test_acknowledgement (models_schema, test, reason) values ('v1', 't', 'known');"
        "insert into v1.couchdb_test_result (run, models_schema, test, model, status, failures, message, acknowledged)"
        " values ('r', 'v1', 't', 'contact', 'fail', 3, 'x', 'known')",
    ),
    "a deployment fails": Case(
        "insert into v1.couchdb_incident (kind, subject, text) values ('deployment', 'dbt project', 'x');"
        + a_task("cht_pipeline_deploy", "build"),
        {"task": "warning"}, {"deployment"}, "warning",
    ),
    "a deployment is tried again": Case(a_task("cht_pipeline_deploy", "build"), {"task": "warning"}, state="warning"),
    "a version is held": Case(DEPLOYED.format(held="'abc'", removed="null")),
    "a table of a removed model": Case(
        DEPLOYED.format(held="null", removed="""'{"v1.couchdb_lock": "2026-03-01T00:00:00Z"}'"""),
        {"removed": "warning"}, state="warning",
    ),
    "a table of a removed model that somebody has dropped": Case(
        DEPLOYED.format(held="null", removed="""'{"v1.old": "2026-03-01T00:00:00Z"}'""")
    ),
    "a form that cannot be read": Case(
        "insert into v1.form_definition (source, document, code, digest, error)"
        " values ('{source}', 'form:visit', 'visit', 'x', 'it is no XML in line 1')",
        {"form": "warning"}, state="warning",
    ),
    "a form that was uploaded again": Case(
        "insert into v1.form_definition (source, document, code, digest, error, replaced_at)"
        " values ('{source}', 'form:visit', 'visit', 'x', 'it is no XML in line 1', now())"
    ),
    "a deployment has changed a form": Case(NOTICE.format(ago="1 hour"), {"form_notice": "ok"}, {"forms"}),
    "a deployment has changed a form, and nobody wants to be told": Case(
        NOTICE.format(ago="1 hour"), {"form_notice": "ok"}, environment={"CHT_ALERT_FORMS": "false"}
    ),
    "a deployment has changed a form some days ago": Case(NOTICE.format(ago="3 days"), {"form_notice": "ok"}),
    "a deployment has changed a form long ago": Case(NOTICE.format(ago="8 days")),
    "copy held": Case("insert into v1.couchdb_copy_hold values ('v1', 'tests', now() + interval '5 minutes')"),
    "a task of cht_sync fails for long": Case(
        a_task("cht_sync", "new_documents"), {"task": "failing"}, {"task"}, "failing"
    ),
    "a task fails for the first time": Case(
        a_task("cht_reconcile", "compare", ago="1 minute"), {"task": "warning"}, state="warning"
    ),
    "a task that only says that others fail": Case(a_task("cht_sync", "result")),
    "a source in doubt": Case(
        "update v1.couchdb_progress set doubt = 'It was restored.', doubted_at = now()",
        {"doubt": "warning"}, {"doubt"}, "warning",
    ),
    "older revisions for a moment": Case(
        "insert into v1.couchdb_older_revision (source, key, _id, held, claimed, first_seen, last_seen, looks)"
        " values ('{source}', '\\x01', 'a', '2-b', '1-a', now(), now(), 1)",
        {"older_revision": "warning"}, state="warning",
    ),
    "older revisions for long": Case(
        "insert into v1.couchdb_older_revision (source, key, _id, held, claimed, first_seen, last_seen, looks)"
        " values ('{source}', '\\x01', 'a', '2-b', '1-a', now() - interval '2 hours', now(), 1)",
        {"older_revision": "warning"}, {"older_revision"}, "warning",
    ),
    "a source that was renamed": Case(RENAMED, {"gone_owner": "failing"}, {"collision"}, "failing"),
    "a source that was renamed and is not read": Case(
        RENAMED + ";" + progress(ago(16), ago(16)), {"gone_owner": "failing"}, {"collision", "source"}, "failing"
    ),
    "a source that was removed": Case(
        QUARANTINED + ";" + a_proof("differs") + ";" + progress("now() - interval '2 days'", "now() - interval '2 days'", "7"),
        {"start": "empty"}, state="empty", task=None,
    ),
    "a source that a DAG of one's own copies": Case(
        QUARANTINED + ";" + progress(ago(90), ago(90), "7"), {"quarantine": "warning"}, {"quarantine"}, "warning", task=None
    ),
    "paused": Case(dag={"paused": True}, page={"paused": "paused"}, state="paused"),
    "other DAGs are paused": Case(
        dag={"others_paused": ["cht_reconcile", "cht_alerts"]}, page={"paused_dag": "warning"}, state="warning"
    ),
    "all DAGs are paused, and nothing was copied": Case(
        dag={"paused": True, "others_paused": ["cht_reconcile"]}, base="", task=None, state="paused",
        page={"paused": "paused", "paused_dag": "warning"},
    ),
    "other DAGs are paused, and nothing was copied": Case(
        dag={"others_paused": ["cht_reconcile"]}, base="", task=None, state="warning",
        page={"start": "empty", "paused_dag": "warning"},
    ),
    "the newest run failed": Case(dag=FAILED, page={"run": "failing"}, state="failing"),
}  # fmt: skip
# Names are data: what a source is called decides nothing.
NAMES = ["x/quarantine", "failed", "result/sources", "sources", "Differs from CouchDB/First load", "ok/Guard closed"]
