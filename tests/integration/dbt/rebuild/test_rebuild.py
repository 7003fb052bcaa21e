"""Rebuilds of a real dbt project, with readers and writers beside them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extras import Json

from cht_sync.dbt.launch.profile import PROFILE, TARGET, ModelsProfile, models_environment, profile_text
from cht_sync.dbt.project.version import WRAPPER
from cht_sync.dbt.rebuild.constraints import missing_by_model
from cht_sync.dbt.rebuild.dbt_process import DbtProcess
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.plan import PlannedModel, RebuildPlan, plan_rebuild
from cht_sync.dbt.rebuild.rebuild import rebuild
from cht_sync.dbt.tables.deployments import Deployments
from cht_sync.errors import SettingsError
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings
from tests.dbt_in_process import dbtRunner
from tests.integration.conftest import Database
from tests.integration.dbt.deleting_project import FILES, write
from tests.servers import mine

pytestmark = pytest.mark.integration

NEWER = {
    "macros__edition.sql": "{% macro edition() %}new{% endmacro %}",
    "models__contact.sql": FILES["models/contact.sql"].replace("as name", "as full_name"),
    "models__models.yml": FILES["models/models.yml"].replace("{name: name,", "{name: full_name,"),
    "models__before.sql": None,
}


def missing_constraints(manifest):
    with transaction(dbt_connection(), "test", "look for constraints") as cursor:
        return [line for lines in missing_by_model(cursor, manifest).values() for line in lines]


class Rig:
    """A database with raw documents and the models of the first version."""

    def __init__(self, database, tmp_path):
        self.database, self.tmp_path = database, tmp_path
        self.settings = Settings()
        self.profiles = tmp_path / "profiles"
        self.profiles.mkdir()
        (self.profiles / "profiles.yml").write_text(profile_text(self.settings))
        self.first = self.version("first")
        self.manifest = self.manifest_of(self.first)

    def reset(self):
        self.sql("drop schema if exists v1 cascade; drop schema if exists v1__next cascade; create schema v1")
        self.sql(
            "create table v1.couchdb (saved_timestamp timestamp, _id varchar primary key,"
            " _deleted boolean, source varchar, doc jsonb)"
        )
        self.save({f"person{n}": "person" for n in range(60)} | {f"report{n}": "report" for n in range(60)})
        self.dbt(self.first, "run")

    def sql(self, text, *values):
        return self.database.rows(text, *values)

    def save(self, types, deleted=False):
        with psycopg2.connect(self.database.dsn) as conn, conn.cursor() as cursor:
            for key, kind in types.items():
                cursor.execute(
                    "insert into v1.couchdb values (clock_timestamp() at time zone 'utc', %s, %s, 'h/medic', %s) on conflict"
                    " (_id) do update set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted,"
                    " doc = excluded.doc",
                    (key, deleted, Json({"name": key} if deleted else {"name": key, "type": kind})),
                )

    def version(self, name, **changed):
        """A built version, as the deployment makes one."""
        folder = self.tmp_path / name
        shutil.copytree(WRAPPER, folder)
        write(folder / "project", **changed)
        (folder / "packages.yml").write_text("packages:\n  - local: project\n")
        # What `dbt deps` makes of a local package.
        (folder / "dbt_packages").mkdir()
        (folder / "dbt_packages" / "deleting").symlink_to(folder / "project")
        self.dbt(folder, "parse")
        return folder

    def manifest_of(self, folder):
        return json.loads((folder / "target" / "manifest.json").read_text())

    def dbt(self, folder, *command):
        env = {
            **models_environment(self.settings),
            ModelsProfile.get_env_var_name("password"): os.environ["POSTGRES_PASSWORD"],
        }
        with pytest.MonkeyPatch.context() as patch:
            for key, value in env.items():
                patch.setenv(key, value)
            where = [
                "--project-dir",
                str(folder),
                "--profiles-dir",
                str(self.profiles),
                "--profile",
                PROFILE,
                "--target",
                TARGET,
            ]
            result = dbtRunner().invoke(["--quiet", "--log-level-file", "none", *command, *where])
        assert result.success, result

    def plan(self, folder, full_refresh=None, state=None):
        return plan_rebuild(self.settings, folder, state, "", full_refresh)

    def rebuild(self, folder, plan, in_swap=lambda cursor: None, published=lambda: None):
        return rebuild(self.settings, folder, plan, holder="test", in_swap=in_swap, published=published)

    def state(self):
        """Everything that must be as it was after a failure, but the tables that a first lock makes."""
        Deployments(self.settings).prepare()
        return self.sql(
            "select relname, c.oid, relkind, relacl::text from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where nspname = 'v1' order by 1"
        ) + self.sql("select conname, oid from pg_constraint order by 2")

    def left_aside(self):
        return self.sql("select relname from pg_class where relnamespace = to_regnamespace('v1__next')")

    def ids(self, model):
        return {row[0] for row in self.sql(f"select uuid from v1.{model}")}

    def kept(self, kind):
        return {
            row[0] for row in self.sql("select _id from v1.couchdb where not _deleted and doc ->> 'type' = %s", kind)
        }


@pytest.fixture(scope="module")
def shared_rig(postgres_server, tmp_path_factory):
    """One database for all: the first version is parsed once."""
    name = mine("rebuilds")
    postgres_server.create_database(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTGRES_DB", name)
        for part in ("host", "port", "user", "password"):
            patch.setenv(f"POSTGRES_{part.upper()}", str(getattr(postgres_server, part)))
        yield Rig(Database(postgres_server.dsn(name), name), tmp_path_factory.mktemp("rebuild"))


@pytest.fixture
def rig(shared_rig):
    shared_rig.reset()
    return shared_rig


class Reader(threading.Thread):
    """Asks one question every 20 ms, as a dashboard would, and remembers the worst."""

    def __init__(self, dsn):
        super().__init__(daemon=True)
        self.dsn, self.stop = dsn, threading.Event()
        self.longest, self.fewest, self.editions, self.error, self.asked = 0.0, 10**9, set(), None, 0

    def run(self):
        with closing(psycopg2.connect(self.dsn)) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    cursor.execute(
                        "select count(*), string_agg(distinct concat(c.edition, p.edition, d.edition, (select edition from v1.people)), ' ')"
                        " from v1.document_metadata d join v1.contact c using (uuid) join v1.patient p using (uuid)"
                    )
                except psycopg2.Error as error:
                    self.error = error
                    return
                count, edition = cursor.fetchone()
                self.longest = max(self.longest, time.monotonic() - began)
                self.fewest, self.asked = min(self.fewest, count), self.asked + 1
                self.editions.add(edition)
                time.sleep(0.02)


def test_a_new_version_replaces_the_old_one_while_readers_and_writers_go_on(rig):
    board = mine("board")
    rig.sql(
        f"create view v1.by_people as select uuid, edition from v1.contact; create role {board};"
        f"grant select on v1.contact to {board}; grant select on v1.by_people to {board}"
    )
    second = rig.version("second", **NEWER)
    plan = rig.plan(second, state=rig.manifest)
    assert [(one.name, one.rows, one.why) for one in plan.models] == [
        ("document_metadata", 120, "modified"),
        ("contact", 60, "modified"),
        ("patient", 60, "hangs from one of these"),
        ("people", 1, "hangs from one of these"),
        ("report", 60, "hangs from one of these"),
    ]
    assert (plan.removed, plan.warnings) == (("v1.before",), ())

    reader, events = Reader(rig.database.dsn), []
    stop = threading.Event()

    def write_beside():
        number = 0
        while not stop.is_set():
            number += 1
            rig.save({f"person{1000 + number}": "person", f"report{number % 60}": "report"})
            rig.save({f"person{number % 30}": "person"}, deleted=True)
            time.sleep(0.1)

    writer = threading.Thread(target=write_beside, daemon=True)
    reader.start()
    writer.start()
    report = rig.rebuild(second, plan, lambda _: events.append("in_swap"), lambda: events.append("published"))
    stop.set()
    writer.join()
    reader.stop.set()
    reader.join()

    print(f"longest wait of a reader {reader.longest:.3f} s in {reader.asked} questions; {report}")
    assert events == ["in_swap", "published"]
    assert reader.error is None
    assert reader.editions == {"oldoldoldold", "newnewnewnew"}
    assert reader.fewest >= 30
    assert reader.asked > 50
    assert reader.longest < 3

    assert missing_constraints(rig.manifest_of(second)) == []
    keys = rig.sql(
        "select conrelid::regclass::text, confrelid::regclass::text, confdeltype from pg_constraint where contype = 'f'"
        " and conrelid::regclass::text !~ 'couchdb_' order by 1"
    )
    assert keys == [
        ("v1.contact", "v1.document_metadata", "c"),
        ("v1.patient", "v1.contact", "c"),
        ("v1.report", "v1.document_metadata", "c"),
    ]
    assert rig.sql(
        "select has_table_privilege(%s, 'v1.contact', 'select'), has_table_privilege(%s, 'v1.by_people', 'select')",
        board,
        board,
    ) == [(True, True)]
    assert rig.sql("select count(*) from v1.by_people where edition <> 'new'") == [(0,)]
    assert rig.sql("select distinct schema_name from v1.results") == [("v1",)]
    assert rig.left_aside() == []
    rig.sql(f"drop owned by {board}; drop role {board}")

    rig.dbt(second, "run")
    assert rig.ids("contact") == rig.ids("patient") == rig.kept("person")
    assert rig.ids("report") == rig.kept("report")
    assert rig.sql(
        "select count(*) from v1.contact c join v1.couchdb r on r._id = c.uuid where c.saved_timestamp <> r.saved_timestamp or full_name <> doc ->> 'name'"
    ) == [(0,)]
    rig.save({"person50": "person", "report50": "report"}, deleted=True)
    rig.dbt(second, "run", "--select", "document_metadata")
    for model in ("document_metadata", "contact", "patient", "report"):
        assert not rig.ids(model) & {"person50", "report50"}, "the delete reaches every model by the cascade"


def test_keys_that_a_full_refresh_dropped_come_back(rig):
    rig.dbt(rig.first, "run", "--full-refresh", "--select", "document_metadata")
    assert missing_constraints(rig.manifest) == [
        "v1.contact (uuid): foreign key to v1.document_metadata on delete cascade"
    ]
    rig.sql(
        "create schema v1__next; create table v1__next.contact (killed int); create view v1__next.people as select 1 as a"
    )
    warned = rig.plan(rig.first)
    assert (warned.models, len(warned.warnings)) == ((), 1)
    plan = rig.plan(rig.first, ["report"], rig.manifest)
    assert [(one.name, one.why) for one in plan.models] == [
        ("contact", "lacks a constraint: v1.contact (uuid): foreign key to v1.document_metadata on delete cascade"),
        ("patient", "hangs from one of these"),
        ("people", "hangs from one of these"),
        ("report", "asked for"),
    ]
    rig.rebuild(rig.first, plan)
    assert missing_constraints(rig.manifest) == []
    assert rig.left_aside() == []
    with pytest.raises(SettingsError, match="full_refresh names 'nobody', which is no model that is run"):
        rig.plan(rig.first, ["nobody"])


def test_a_rebuild_that_fails_or_is_killed_leaves_everything_as_it_was(rig, monkeypatch):
    broken = rig.version(
        "broken",
        **{
            "models__report.sql": FILES["models/report.sql"].replace(
                "select uuid", "select 1 / (length(uuid) - length(uuid)) as x, uuid"
            )
        },
    )
    plan = rig.plan(broken, ["report"])
    before = rig.state()
    with pytest.raises(
        RebuildError,
        match="dbt could not build the models in a staging schema, nothing was changed: report: .*division by zero",
    ):
        rig.rebuild(broken, plan, lambda _: pytest.fail("no swap"))
    assert rig.state() == before
    assert rig.left_aside() == []

    slow = rig.version(
        "slow",
        **{"models__patient.sql": FILES["models/patient.sql"].replace("where true", "where pg_sleep(60) is not null")},
    )
    pids = []
    started = DbtProcess.__enter__
    monkeypatch.setattr(DbtProcess, "__enter__", lambda self: (started(self), pids.append(self._process.pid))[0])

    def kill():
        while not rig.sql(
            "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        ):
            time.sleep(0.1)
        os.kill(pids[0], signal.SIGKILL)

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    with pytest.raises(RebuildError, match=r"dbt was ended from outside \(exit code -9\).*nothing was changed"):
        rig.rebuild(slow, rig.plan(slow, ["contact"]))
    killing.join()
    assert rig.state() == before

    rig.rebuild(rig.first, rig.plan(rig.first, ["patient"]))
    assert missing_constraints(rig.manifest) == []
    assert len(rig.ids("patient")) == 60
    assert rig.left_aside() == []


def test_what_cannot_be_kept_is_refused_before_anything_is_built(rig, monkeypatch):
    monkeypatch.setattr(DbtProcess, "__enter__", lambda self: pytest.fail("nothing is to be built"))
    rig.sql("create function v1.takes(v1.contact) returns int language sql as 'select 1'")
    before = rig.state()
    planned = PlannedModel("model.deleting.contact", "contact", "v1.contact", 60, "asked for")
    with pytest.raises(RebuildError, match=r"function v1.takes\(v1.contact\) depends on type v1.contact; drop it"):
        rig.rebuild(rig.first, RebuildPlan((planned,)))
    assert rig.state() == before


def test_tables_of_which_everything_is_published_are_built_anew(rig):
    """Their rows cannot be changed without a replica identity, aside as little as in use."""
    for (name,) in rig.sql("select tablename from pg_tables where schemaname = 'v1'"):
        rig.sql(f"alter table v1.{name} replica identity full")
    rig.sql("create publication everything for all tables")
    try:
        rig.rebuild(rig.first, rig.plan(rig.first, ["contact"]))
        rig.save({"person1": "report"})
        rig.dbt(rig.first, "run")
    finally:
        rig.sql("drop publication everything")
    assert rig.ids("contact") == rig.kept("person")
    kept = "select distinct relreplident from pg_class where oid in ('v1.contact'::regclass, 'v1.patient'::regclass)"
    assert rig.sql(kept) == [("f",)]


def test_a_manifest_that_this_dbt_cannot_read_is_nothing_known(rig):
    old = {**rig.manifest, "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v1.json"}}
    plan = rig.plan(rig.first, state=old)
    assert plan.models == ()
    assert "cannot be read by this dbt" in plan.warnings[0]
