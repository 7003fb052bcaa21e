"""Puts the destination database into each state that the status page tells of."""

from __future__ import annotations

from contextlib import closing, contextmanager

import psycopg2

from cht_sync.couchdb.structs import Change, Refused
from cht_sync.dbt.tables.model_results import SHRUNK, ModelResult, ModelResults
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

MEDIC, SENTINEL, USERS = "couch.example.org/medic", "couch.example.org/medic-sentinel", "couch.example.org/_users"
SOURCES = (MEDIC, SENTINEL, USERS)
# What no page may show: content of documents.
SECRET = "Amina Otieno +254700000000"
MODELS = ("document_metadata", "contact", "data_record", "patient", "person", "place", "user")


def add_doubt(rows, source, ago="2 hours"):
    """What a later version of the tables holds."""
    rows(
        "alter table v1.couchdb_progress add column if not exists doubt text,"
        " add column if not exists doubted_at timestamptz"
    )
    rows(
        "create table if not exists v1.couchdb_older_revision (source varchar, key bytea, _id varchar, held varchar,"
        " claimed varchar, first_seen timestamptz, last_seen timestamptz, looks integer)"
    )
    rows(
        "update v1.couchdb_progress set doubt = source || ' was loaded from a CouchDB cluster.',"
        " doubted_at = now() - %s::interval where source = %s",
        ago, source,
    )  # fmt: skip
    rows(
        "insert into v1.couchdb_older_revision (source, key, _id, held, claimed, first_seen, last_seen, looks)"
        " select %s, decode(n::text, 'escape'), n::text, '2-b', '1-a', now() - %s::interval, now(), 1"
        " from generate_series(1, 2) n",
        source, ago,
    )  # fmt: skip


class Scenes:
    """Fills one database, each time from nothing.

    :param database: the database.
    """

    def __init__(self, database):
        self.database, self.rows = database, database.rows

    def empty(self):
        self.rows("drop schema if exists v1 cascade")

    def copied(self, pending=0):
        """Three sources, copied by the real store."""
        self.empty()
        raw = RawTable("v1", "couchdb")
        with DocumentStore(postgres_connection(), raw) as store:
            store.prepare()
            for number, source in enumerate(SOURCES):
                store.claim(source)
                # Both databases hold a document "settings": the second one collides.
                documents = [{"_id": f"{number}-{n}", "name": SECRET} for n in range(400 - 150 * number)]
                if source != USERS:
                    documents.append({"_id": "settings"})
                waiting = pending if source == MEDIC else 0
                store.save(source, page_of(*documents, last_seq="41-a", pending=waiting), None, "17")
        # A day of runs before, with quiet hours.
        self.rows(
            "insert into v1.couchdb_window (id, source, started_at, ended_at, seq_from, seq_to, pages, documents,"
            "  tombstones, changed, quarantined, bytes, seconds)"
            " select gen_random_uuid(), source, now() - minutes * interval '5 min', now() - minutes * interval '5 min'"
            "  + interval '1 s', 's', 't', 1, 2 + (9 * (1 + sin(minutes / 23.0 + length(source))))::int, 3, 1, 0,"
            "  1000, 2.5"
            " from generate_series(5, 280) minutes, unnest(%s) source"
            " where minutes %% 12 < 9 and (source = %s or minutes %% 4 = 0)",
            list(SOURCES), MEDIC,
        )  # fmt: skip
        self.rows("analyze v1.couchdb")

    def healthy(self):
        self.copied()
        self.proof("equal")
        self.modelled()
        self.rejects()

    def first_load(self):
        self.copied(pending=1_250_000)
        self.rows(
            "update v1.couchdb_window set documents = 400000, seconds = 50, ended_at = now() where source = %s"
            " and seq_from is null",
            MEDIC,
        )

    def quarantine(self):
        self.copied()
        self.proof("equal")
        self.modelled()
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.claim(MEDIC)
            page = page_of({"_id": "fine"}, last_seq="99-a")
            for number in range(60):
                body = f'{{"name": "{SECRET}"}}'.encode()
                reason = f'Postgres: invalid input syntax for type json: "{SECRET}"'
                page.refused.append(Refused(Change(f"odd-{number:02}"), reason, "22P02", body))
            store.save(MEDIC, page, "41-a", "17")

    def shrunk(self):
        self.copied()
        self.proof("repaired")
        self.modelled()
        memory = self.memory()
        message = "contact fell from 8,120 to 4,060 rows (-50%), which is more than CHT_MODELS_MAX_DROP=20 percent: find out why"
        memory.record([ModelResult("model.a.contact", "contact", SHRUNK, message, 1.2, 4060)])
        said = f'Database Error in model patient: invalid input syntax for type integer: "{SECRET}"'
        memory.record([ModelResult("model.a.patient", "patient", "error", said, 0.4, at_fault=["0-7"])])
        memory.hold(
            ["model.a.document_metadata"], "Readers keep the last good state until these models run again: patient."
        )
        self.rows(
            "update v1.couchdb_model_result set failing_since = now() - interval '3 hours' where failing_since is not null"
        )

    def proof(self, verdict):
        self.rows(
            "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, compared, missing, repaired,"
            " verdict) select 'scheduled__1', source, 'range 1', now() - interval '7 hours', now() - interval '7 hours',"
            " 41, 1, 1, %s from unnest(%s) source",
            verdict, list(SOURCES),
        )  # fmt: skip
        if verdict == "equal":
            self.rows("update v1.couchdb_reconciliation set missing = 0, repaired = 0")

    def memory(self):
        return ModelResults(postgres_connection(), RawTable("v1", "couchdb"), Settings().dbt_schema)

    def modelled(self):
        for run in range(8):
            results = [
                ModelResult(f"model.a.{name}", name, "success", "INSERT 0 40", 0.4 + at * 0.3 + (run * at % 5) * 0.2, 8120 - at * 700)
                for at, name in enumerate(MODELS)
            ]  # fmt: skip
            self.memory().record(results)
        self.rows(
            "insert into v1.couchdb_model_run (models_schema, models, modelled_to, newest, succeeded_at)"
            " select 'v1', '', max(saved_timestamp), max(saved_timestamp), now() from v1.couchdb on conflict do nothing"
        )

    def rejects(self):
        self.rows(
            "create table v1.document_rejects (uuid text, saved_timestamp timestamp, doc_type text, instance text,"
            " dbname text, field text, value text, reason text)"
        )
        self.rows(
            "insert into v1.document_rejects select '0-' || n, now() at time zone 'utc', 'data_record', 'couch.example.org',"
            " 'medic', 'reported', %s, 'not a date in milliseconds' from generate_series(1, 12) n"
            " union all select '0-77', now() at time zone 'utc', null, 'couch.example.org', 'medic', 'doc_type', %s,"
            " 'too long for an index'",
            SECRET, SECRET,
        )  # fmt: skip

    def fails(self, message, *subjects, dag_id="cht_sync", task_id="sync", tries=2, ago="3 minutes"):
        """What a task that fails leaves in the table of its reasons."""
        for subject in subjects or ("",):
            self.rows(
                "insert into v1.couchdb_task_error (dag_id, task_id, subject, message, tries, first_at, last_at)"
                " values (%s, %s, %s, %s, %s, now() - %s::interval, now() + interval '1 s')",
                dag_id, task_id, subject, message, tries, ago,
            )  # fmt: skip

    def renamed(self, old="couch.old.example.org/medic"):
        """A server with a new name: the rows are those of a source that nobody copies any more."""
        self.rows("update v1.couchdb set source = %s where source = %s", old, MEDIC)
        self.rows(
            "insert into v1.couchdb_progress (source, seq, updated_at) values (%s, '1', now() - interval '9 days')", old
        )
        self.rows(
            "insert into v1.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)"
            " select sha256(convert_to(_id, 'UTF8')), _id, %s, false, doc, saved_timestamp from v1.couchdb"
            " where source = %s and _id like '0-%%'",
            MEDIC, old,
        )  # fmt: skip
        return old

    def many(self, number=30, failing=0, retrying=0):
        """Many sources of three servers.

        :return: their names.
        """
        self.healthy()
        names = [f"cht{at % 3}.example.org/medic-{at:02}" for at in range(number)]
        self.rows("delete from v1.couchdb_progress")
        self.rows(
            "insert into v1.couchdb_progress (source, seq, pending, updated_at, drained_at)"
            " select source, '1-a', 0, now() - at * interval '1 s', now() - at * interval '1 s'"
            " from unnest(%s) with ordinality as named (source, at)",
            names,
        )
        return names

    def doubt(self, source):
        """A source whose copy may not be complete, and claims that its documents are older."""
        add_doubt(self.rows, source)

    @contextmanager
    def locked(self, table, program="nightly_vacuum"):
        """Another session that keeps readers of a table waiting; its process id."""
        with closing(psycopg2.connect(self.database.dsn, application_name=program)) as conn, conn.cursor() as cursor:
            cursor.execute(f"lock table v1.{table} in access exclusive mode")
            yield conn.info.backend_pid
            conn.rollback()

    @contextmanager
    def without_right(self, table, monkeypatch, name="cht_reader_without"):
        """A role that may read everything but one table."""
        self.rows(f"create role {name} login password 'r'")
        try:
            self.rows(f"grant usage on schema v1 to {name}; grant select on all tables in schema v1 to {name}")
            self.rows(f"revoke select on v1.{table} from {name}")
            with monkeypatch.context() as patch:
                patch.setenv("POSTGRES_USER", name)
                patch.setenv("POSTGRES_PASSWORD", "r")
                yield name
        finally:
            self.rows(f"drop owned by {name}; drop role {name}")

    def refuse_connections(self, refuse):
        """Of this database alone: the server is shared."""
        name = self.database.name
        with closing(psycopg2.connect(self.database.dsn.rpartition("/")[0] + "/postgres")) as conn:
            conn.autocommit = True
            with conn.cursor() as cursor:
                cursor.execute(f"alter role current_user in database {name} reset all")
                cursor.execute(f"alter database {name} allow_connections {not refuse}")
