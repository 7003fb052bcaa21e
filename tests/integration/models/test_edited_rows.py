"""Below the wrapper project, an edited row is never absent from a model of delete+insert and foreign keys."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import psycopg2
import pytest

from cht_sync.pipeline.build import wrapper_files
from tests.integration.models.conftest import PROFILES, Models
from tests.integration.models.test_guarded_models import contact

pytestmark = [pytest.mark.integration, pytest.mark.slow]
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
    assert database.value("select count(*) from v1.cht_edited_rows") == 0


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
    assert database.value("select count(*) from v1.cht_edited_rows") == 0
