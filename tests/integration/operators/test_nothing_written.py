"""What the tasks of the DAG leave behind in Postgres where the settings are wrong: nothing."""

from __future__ import annotations

import socket

import pytest

from cht_sync.errors import CouchDBError, SettingsError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.tasks.sync import list_sources, models_have_work
from tests.servers import mine

pytestmark = pytest.mark.integration
NAMES = ("nowhere", "not-here-either")


@pytest.fixture
def couchdb(couchdb_server, database, monkeypatch):
    """Name the real server and a database that it does not have."""
    for variable, value in {
        "COUCHDB_HOST": couchdb_server.host,
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
        "COUCHDB_DBS": ", ".join(NAMES),
    }.items():
        monkeypatch.setenv(variable, value)
    return couchdb_server


@pytest.fixture
def closed_port():
    """Yield a port that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Run:
    """A task instance of a run in which no source was copied."""

    def xcom_pull(self, task_ids):
        return [None]


def run():
    """What the tasks do one after the other, as the DAG orders them: their errors, and the answer of the gate."""
    failed = []
    sources = []
    try:
        sources = list_sources.function()
    except (SettingsError, CouchDBError) as error:
        failed.append(error)
    for source in sources:
        try:
            CouchDBToPostgresOperator(task_id="sync", **source).execute({})
        except (SettingsError, CouchDBError) as error:
            failed.append(error)
    # It runs whatever became of the tasks before it.
    return failed, models_have_work.function(Run(), {})


def test_no_database_is_named(couchdb, database, monkeypatch):
    monkeypatch.setenv("COUCHDB_DBS", " , ")
    failed, work = run()
    assert ["COUCHDB_DBS is empty" in str(error) for error in failed] == [True]
    assert not work
    assert database.tables() == set()


def test_the_password_of_couchdb_is_wrong(couchdb, database, monkeypatch):
    # Not the administrator: CouchDB locks an account out after a few wrong passwords.
    monkeypatch.setenv("COUCHDB_USER", mine("nobody-writes"))
    monkeypatch.setenv("COUCHDB_PASSWORD", "wr0ng")
    failed, work = run()
    assert [(isinstance(error, SettingsError), "COUCHDB_PASSWORD" in str(error)) for error in failed] == [
        (True, True)
    ] * 2
    assert not any("wr0ng" in str(error) for error in failed)
    assert not work
    assert database.tables() == set()


def test_couchdb_cannot_be_reached(couchdb, database, closed_port, monkeypatch):
    monkeypatch.setenv("COUCHDB_PORT", str(closed_port))
    monkeypatch.setattr("cht_sync.couchdb.hook.CouchDBHook.__init__.__defaults__", ("cht_couchdb", 0.1))
    failed, work = run()
    assert [isinstance(error, CouchDBError) for error in failed] == [True] * 2
    assert all("could not be reached" in str(error) and str(closed_port) in str(error) for error in failed)
    assert not work
    assert database.tables() == set()


def test_the_databases_do_not_exist(couchdb, database):
    failed, work = run()
    assert all(f"database {name!r} with 404" in str(error) for name, error in zip(NAMES, failed, strict=True))
    assert not work
    assert database.tables() == set()


@pytest.mark.parametrize(
    ("variable", "value"), [("COUCHDB_PORT", "abc"), ("BATCH_SIZE", "0"), ("POSTGRES_SCHEMA", "a%b")]
)
def test_a_variable_cannot_be_used(couchdb, database, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable}={value!r}"):
        list_sources.function()
    with pytest.raises(SettingsError, match=f"{variable}={value!r}"):
        models_have_work.function(Run(), {})
    assert database.tables() == set()
