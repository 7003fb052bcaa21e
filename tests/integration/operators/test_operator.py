import itertools
import secrets
from urllib.parse import urlsplit

import pytest
import requests
from airflow.sdk import Asset

from cht_sync.assets import source_asset, table_asset
from cht_sync.errors import CheckpointConflictError, CouchDBError, SettingsError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.copy_hold import CopyHold
from cht_sync.store.document_store import DocumentStore
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)


class Couch:
    """One database of the CouchDB-protocol server, with the few calls the tests make."""

    def __init__(self, server):
        # Not a number alone: other test modules may have imported this one under another name.
        self.name = mine(f"operator-{next(_numbers)}-{secrets.token_hex(3)}")
        self.source = f"127.0.0.1/{self.name}"
        self.session = requests.Session()
        self.session.auth = server.auth
        self.url = f"{server.url}/{self.name}"
        assert self.session.put(self.url).ok

    def write(self, *documents):
        answer = self.session.post(f"{self.url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE)
        answer.raise_for_status()
        return [(each["id"], each["rev"]) for each in answer.json()]

    def states(self):
        """Id, winning revision and body of each document, from CouchDB."""
        rows = self.session.get(f"{self.url}/_all_docs", params={"include_docs": "true"}).json()["rows"]
        return {row["id"]: row["doc"] for row in rows}


@pytest.fixture
def couch(couchdb_server, database, monkeypatch):
    address = urlsplit(couchdb_server.url)
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(address.port))
    monkeypatch.setenv("COUCHDB_USER", couchdb_server.user)
    monkeypatch.setenv("COUCHDB_PASSWORD", couchdb_server.password)
    return Couch(couchdb_server)


def copy(couch, context=None, **arguments):
    operator = CouchDBToPostgresOperator(task_id="sync", database=couch.name, **arguments)
    return operator.execute({} if context is None else context)


def stored(database):
    return dict(database.rows("select _id, doc from v1.couchdb where not _deleted"))


def test_a_database_is_copied_exactly(couch, database):
    couch.write(
        *(
            {"_id": f"d{n}", "text": "Ámina \u0001 子 😀 C:\\u0000dir", "n": n / 7, "deep": {"a": [n]}}
            for n in range(1234)
        )
    )
    summary = copy(couch)
    assert (summary["documents"], summary["rows"], summary["drained"], summary["pending"]) == (1234, 1234, True, 0)
    assert summary["source"] == couch.source
    assert summary["pages"] > 1
    assert summary["bytes"] > 100_000
    assert stored(database) == couch.states()


@pytest.mark.parametrize("bodies", ["", "stub", "keep"])
def test_a_second_run_copies_only_what_changed(couch, database, monkeypatch, bodies):
    monkeypatch.setenv("CHT_TOMBSTONE_BODIES", bodies)
    revisions = dict(couch.write(*({"_id": f"d{n}"} for n in range(300))))
    copy(couch)
    untouched = database.value("select saved_timestamp from v1.couchdb where _id = 'd5'")
    couch.write(
        {"_id": "d1", "_rev": revisions["d1"], "edited": True},
        {"_id": "d2", "_rev": revisions["d2"], "_deleted": True, "why": "kept"},
        {"_id": "new"},
    )
    summary = copy(couch)
    assert (summary["documents"], summary["tombstones"], summary["rows"]) == (3, 1, 3)
    assert stored(database) == couch.states()
    deleted, doc = database.rows("select _deleted, doc from v1.couchdb where _id = 'd2'")[0]
    assert deleted
    assert doc.pop("_rev").startswith("2-")
    assert doc == {"_id": "d2", "_deleted": True, **({"why": "kept"} if bodies == "keep" else {})}
    assert database.value("select saved_timestamp from v1.couchdb where _id = 'd5'") == untouched
    assert copy(couch)["documents"] == 0


def test_it_goes_on_where_a_run_was_cut_off(couch, database, monkeypatch):
    couch.write(*({"_id": f"d{n}"} for n in range(900)))
    save = DocumentStore.save
    calls = itertools.count(1)

    def failing(self, *arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return save(self, *arguments)

    monkeypatch.setattr(DocumentStore, "save", failing)
    with pytest.raises(KeyboardInterrupt):
        copy(couch)
    done = database.value("select count(*) from v1.couchdb")
    assert 0 < done < 900
    summary = copy(couch)
    assert summary["documents"] == 900 - done
    assert stored(database) == couch.states()


def test_a_time_budget_hands_over_to_the_models(couch, database):
    couch.write(*({"_id": f"d{n}"} for n in range(3000)))
    summary = copy(couch, time_budget=0.001)
    assert not summary["drained"]
    assert 0 < database.value("select count(*) from v1.couchdb") < 3000
    while not copy(couch, time_budget=0.001)["drained"]:
        pass
    assert stored(database) == couch.states()


def test_batch_size_is_the_upper_bound(couch, monkeypatch):
    couch.write(*({"_id": f"d{n}"} for n in range(120)))
    monkeypatch.setenv("BATCH_SIZE", "25")
    assert copy(couch)["pages"] >= 5


def test_large_documents_come_through(couch, database):
    couch.write(*({"_id": f"d{n}", "text": "x" * 4_000_000} for n in range(12)))
    assert copy(couch)["documents"] == 12
    assert database.rows("select count(*), min(length(doc->>'text')) from v1.couchdb") == [(12, 4_000_000)]


def test_two_sources_share_the_table(couch, couchdb_server, database):
    other = Couch(couchdb_server)
    couch.write({"_id": "a"})
    other.write({"_id": "b"})
    copy(couch)
    copy(other)
    assert database.rows("select _id, source from v1.couchdb order by 1") == [("a", couch.source), ("b", other.source)]
    assert database.value("select count(*) from v1.couchdb_progress") == 2


def test_a_source_that_is_being_copied_is_left_alone(couch, database):
    couch.write({"_id": "a"})
    copy(couch)
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb"), "somebody else") as other:
        other.claim(couch.source)
        with pytest.raises(CheckpointConflictError, match="is being written by somebody else"):
            copy(couch)


def test_an_old_couch2pg_beside_is_noticed(couch, database, monkeypatch):
    """It takes no lock, but moves the same checkpoint: what it wrote stays, and the page on its way is rolled back."""
    couch.write(*({"_id": f"d{n}"} for n in range(300)))
    save, calls, found = DocumentStore.save, itertools.count(1), []

    def save_beside(self, source, *arguments):
        if next(calls) == 2:
            database.rows("update v1.couchdb set doc = '{\"theirs\": 1}' where _id = 'd0'")
            database.rows("update v1.couchdb_progress set seq = '150', pending = 0 where source = %s", source)
            found.append(database.value("select count(*) from v1.couchdb"))
        return save(self, source, *arguments)

    monkeypatch.setattr(DocumentStore, "save", save_beside)
    with pytest.raises(CheckpointConflictError, match="was moved by another writer.*couch2pg"):
        copy(couch)
    assert [database.value("select count(*) from v1.couchdb")] == found
    assert database.value("select doc from v1.couchdb where _id = 'd0'") == {"theirs": 1}
    assert database.value("select seq from v1.couchdb_progress") == "150"


def test_assets_have_an_event_when_something_changed(couch, database):
    class Events(dict):
        def __missing__(self, alias):
            self[alias] = self
            return self

        def add(self, asset, extra=None):
            added.append((asset.uri, extra))

    added = []
    copy(couch, {"outlet_events": Events()})
    assert added == []
    couch.write({"_id": "a"})
    copy(couch, {"outlet_events": Events()})
    assert added == [(f"couchdb://{couch.source}", {"source": couch.source, "rows": 1})]
    # A DAG names an asset by its URI alone; any other name would make it another asset.
    assert source_asset(couch.source) == Asset(f"couchdb://{couch.source}")
    place = postgres_connection()
    table = f"postgres://{place.host}:{place.port}/{database.name}/v1/couchdb"
    assert table_asset(Settings()) == Asset(table)


def test_odd_names_make_an_asset_too(database, monkeypatch):
    monkeypatch.setenv("POSTGRES_TABLE", "a/b #1")
    assert table_asset(Settings()).uri.endswith("/v1/a%2Fb%20%231")


def test_the_log_tells_how_it_goes(couch, caplog):
    couch.write(*({"_id": f"d{n}", "x": "y" * 900} for n in range(1500)))
    with caplog.at_level("INFO"):
        copy(couch)
    text = caplog.text
    assert f"{couch.source}: page 1: 100 documents (0 deleted), 0.1 MB," in text
    assert "documents/s" in text
    assert f"{couch.source}: all changes read; 1,500 documents (1,500 rows changed) in" in text


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COUCHDB_PASSWORD", "wr0ng", "COUCHDB_PASSWORD"),
        ("COUCHDB_PORT", "abc", "COUCHDB_PORT='abc'"),
        ("COUCHDB_SECURE", "maybe", "COUCHDB_SECURE='maybe'"),
        ("COUCHDB_SECURE", "true", "COUCHDB_SECURE=false"),
        ("POSTGRES_PASSWORD", "wr0ng", "password authentication failed"),
        ("BATCH_SIZE", "many", "BATCH_SIZE='many'"),
        ("CHT_TOMBSTONE_BODIES", "drop", "use 'stub' or 'keep'"),
    ],
)
def test_bad_settings_write_nothing(couch, database, monkeypatch, variable, value, said):
    couch.write({"_id": "a"})
    if variable == "COUCHDB_PASSWORD":
        # Not the administrator: CouchDB locks an account out after a few wrong passwords.
        monkeypatch.setenv("COUCHDB_USER", mine("nobody-copies"))
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        copy(couch)
    assert said in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    assert database.tables() == set()


def test_a_database_that_does_not_exist_writes_nothing(couch, database):
    with pytest.raises(SettingsError, match=r"database 'nowhere' with 404.*COUCHDB_DBS"):
        CouchDBToPostgresOperator(task_id="sync", database="nowhere").execute({})
    assert database.tables() == set()


def test_an_unreachable_host_writes_nothing(couch, database, monkeypatch):
    monkeypatch.setenv("COUCHDB_HOST", "no-such-host.invalid")
    monkeypatch.setattr("cht_sync.couchdb.hook.CouchDBHook.__init__.__defaults__", ("cht_couchdb", 0.3))
    with pytest.raises(CouchDBError, match=r"no-such-host.invalid.*could not be reached.*COUCHDB_HOST"):
        copy(couch)
    assert database.tables() == set()


def test_connections_of_airflow_come_before_the_environment(couch, database, monkeypatch):
    couch.write({"_id": "a"})
    address = urlsplit(couch.url)
    user, password = couch.session.auth
    monkeypatch.setenv("COUCHDB_HOST", "no-such-host.invalid")
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", f"http://{user}:{password}@127.0.0.1:{address.port}/?instance=north")
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", database.dsn.replace("postgresql:", "postgres:"))
    monkeypatch.setenv("POSTGRES_HOST", "no-such-host.invalid")
    assert copy(couch)["source"] == f"north/{couch.name}"
    assert stored(database) == couch.states()


def test_the_models_may_have_a_role_of_their_own(monkeypatch):
    monkeypatch.setenv("POSTGRES_HOST", "raw")
    monkeypatch.setenv("DBT_POSTGRES_USER", "dbt")
    monkeypatch.setenv("DBT_POSTGRES_PASSWORD", "dbt's")
    connection = dbt_connection()
    assert (connection.host, connection.login, connection.password) == ("raw", "dbt", "dbt's")
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES_DBT", "postgres://owner:pw@models/db")
    assert dbt_connection().host == "models"


def test_nothing_is_copied_while_the_models_are_waited_for(couch, database):
    couch.write({"_id": "a", "type": "person"})
    assert copy(couch)["documents"] == 1
    couch.write({"_id": "b", "type": "person"})
    hold = CopyHold(postgres_connection(), RawTable("v1", "couchdb"))
    with hold.held("v1", "data tests of v1 wait for the models", 60):
        assert copy(couch)["documents"] == 0
        # What a person asks for is done in any case.
        assert copy(couch, {"params": {"retry_quarantine": True}})["documents"] == 1
    couch.write({"_id": "c", "type": "person"})
    assert copy(couch)["documents"] == 1
