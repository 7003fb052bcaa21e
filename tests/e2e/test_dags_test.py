"""One run in one process, with nothing but environment variables: ``airflow dags test cht_sync``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from include.demo.census import census
from include.demo.counts import Destination, model_lines, source_lines
from include.demo.fill import DATABASES, fill
from include.demo.pouchdb import PouchDBServer
from include.demo.touch import touch
from tests.servers import mine

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[2]
AIRFLOW = Path(sys.executable).parent / "airflow"
DATABASE = mine("cht_dags_test")
DOCUMENTS = 300


class Deployment:
    """A filled CouchDB, an empty Postgres database and an Airflow home that nothing was ever written to."""

    def __init__(self, folder, couchdb, postgres):
        self.couchdb = couchdb
        self.settings = {
            "COUCHDB_HOST": couchdb.host,
            "COUCHDB_PORT": str(couchdb.port),
            "COUCHDB_USER": couchdb.user,
            "COUCHDB_PASSWORD": couchdb.password,
            "COUCHDB_DBS": ", ".join(DATABASES),
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": DATABASE,
        }
        # What pytest's own Airflow was told must not reach this one, and neither must a path that helps imports.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "_AIRFLOW")) and name != "PYTHONPATH"
        }
        self.environment = {
            **kept,
            **self.settings,
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        }
        self.folder = folder

    def airflow(self, *arguments, **variables):
        """Exit code and everything that was printed."""
        done = subprocess.run(
            [AIRFLOW, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=400,
        )
        # Colours come in the middle of words.
        return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode())

    def run(self, **variables):
        return self.airflow("dags", "test", "cht_sync", **variables)

    @property
    def destination(self):
        return Destination(self.settings)

    def rows(self, query, *values):
        with closing(self.destination.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall()

    def disagreements(self):
        """What is not the same on both sides, documents and models."""
        counted = census(self.couchdb.url, self.couchdb.auth)
        lines = source_lines(counted, self.destination.sources())
        lines += model_lines(counted, self.destination.rows(list(counted.models)))
        return [line for line in lines if not line.agrees]

    def stamps(self):
        """Everything that a run which changes nothing must leave as it is."""
        documents = self.rows("select _id, saved_timestamp from v1.couchdb")
        models = self.rows("select uuid, saved_timestamp from v1.document_metadata")
        return dict(documents), dict(models)


@pytest.fixture(scope="module")
def deployment(server_folder, postgres_server):
    # The generator fills databases of fixed names, so that it needs a server of its own.
    with PouchDBServer(server_folder / "dagstest") as couchdb:
        fill(couchdb.url, couchdb.auth, DOCUMENTS)
        postgres_server.create_database(DATABASE)
        folder = server_folder / "dagstest-airflow"
        folder.mkdir()
        deployment = Deployment(folder, couchdb, postgres_server)
        code, text = deployment.airflow("db", "migrate")
        assert code == 0, text
        yield deployment


@pytest.fixture(scope="module")
def first(deployment):
    """Exit code and output of the first run, which every test here builds on."""
    return deployment.run()


def test_one_run_copies_and_models_everything(deployment, first):
    code, text = first
    assert code == 0, text
    assert "Running with dbt" in text
    assert deployment.disagreements() == []
    assert sum(deployment.destination.rows(["document_metadata"]).values()) > DOCUMENTS / 2


def test_no_secret_is_printed(deployment, first):
    _code, text = first
    assert deployment.settings["COUCHDB_PASSWORD"] not in text
    assert deployment.settings["POSTGRES_PASSWORD"] not in text


def test_a_run_with_nothing_new_skips_the_models(deployment, first):
    before = deployment.stamps()
    results = deployment.rows("select count(*) from v1.dbt_results")
    code, text = deployment.run()
    assert code == 0, text
    assert "No document arrived since the last successful run of the models; they are skipped." in text
    assert "Running with dbt" not in text
    assert deployment.stamps() == before
    assert deployment.rows("select count(*) from v1.dbt_results") == results


def test_one_source_that_fails_does_not_stop_the_others(deployment, first):
    touched = touch(deployment.couchdb.url, deployment.couchdb.auth, edits=4, deletes=2, creates=3, seed=7)
    code, text = deployment.run(COUCHDB_DBS="nowhere, medic")
    assert code != 0, text
    assert re.search(r"refused database 'nowhere' with 404", text), text
    assert re.search(r"This run is incomplete: .*nowhere", text), text
    changed = [*touched.edits, *touched.creates]
    modelled = deployment.rows(
        "select c._id from v1.couchdb c join v1.document_metadata m on m.uuid = c._id"
        " and m.saved_timestamp = c.saved_timestamp where c._id = any(%s) and not c._deleted",
        changed,
    )
    assert {key for (key,) in modelled} == set(changed)
    revisions = deployment.rows("select doc->>'_rev' from v1.couchdb where _id = any(%s)", touched.edits)
    assert not [revision for (revision,) in revisions if revision.startswith("1-")]
    assert deployment.rows("select uuid from v1.document_metadata where uuid = any(%s)", touched.deletes) == []
    assert deployment.rows("select source from v1.couchdb_progress where source like '%nowhere'") == []
