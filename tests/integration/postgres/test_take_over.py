"""Taking a live database of CHT Sync 2.x over, and giving it back: docs/how-to-cht-sync-2.md, step by step."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
import requests

from cht_sync.check.command import check
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.reconcile.verify import verify
from cht_sync.settings.settings import Settings
from tests.oracle.oracle import compare
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration
NAME = mine("take-over")
SOURCE = f"127.0.0.1/{NAME}"
# What CHT Sync 2.0.2 leaves behind (its setup.js and dbt-run.py), with a model and a dashboard on it.
TABLES = """
create schema v1;
create table v1.couchdb (
    saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb
);
create index _deleted on v1.couchdb (_deleted);
create index saved_timestamp on v1.couchdb (saved_timestamp);
create index source on v1.couchdb (source);
create table v1.couchdb_progress (seq varchar, pending integer, updated_at timestamptz, source varchar primary key);
create table v1._dataemon (
    inserted_on timestamp default now(), packages jsonb, manifest jsonb, dbt_selector text
);
insert into v1._dataemon (packages, manifest, dbt_selector) values ('{"packages": []}', '{"nodes": {}}', '');
create table v1.contact (uuid varchar primary key, saved_timestamp timestamp);
create view v1.dashboard as select uuid from v1.contact;
"""
# Its statements, of importer.js.
BEGIN = "insert into v1.couchdb_progress (seq, pending, source, updated_at) values ('0', null, %s, current_timestamp)"
SAVE = """
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values (%s, %s, %s, %s, %s)
on conflict (_id) do update set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted,
    source = excluded.source, doc = excluded.doc
"""
REMEMBER = "update v1.couchdb_progress set seq = %s, pending = 0, updated_at = current_timestamp where source = %s"


class Deployment:
    """A CouchDB database, and a Postgres that CHT Sync 2.x has copied it to."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self.url, self.auth = f"{server.url}/{NAME}", server.auth
        requests.put(self.url, auth=self.auth, timeout=10).raise_for_status()
        database.rows(TABLES)

    def write(self, *ids):
        self._put({"_id": each, "type": "person", "name": f"Ámina {each}"} for each in ids)

    def delete(self, *ids):
        """As the CHT does: the whole document stays in the tombstone."""
        found = (requests.get(f"{self.url}/{each}", auth=self.auth, timeout=10).json() for each in ids)
        self._put({**each, "_deleted": True} for each in found)

    def _put(self, documents):
        asked = {"json": {"docs": list(documents)}, "params": EVERYWHERE}
        answer = requests.post(f"{self.url}/_bulk_docs", auth=self.auth, timeout=10, **asked)
        answer.raise_for_status()
        assert all(each.get("ok") for each in answer.json())

    def couch2pg(self, stamp):
        """Copy what is new since the checkpoint and move it, as CHT Sync 2.0.2 does; gives the ids."""
        since = self.database.rows("select seq from v1.couchdb_progress where source = %s", SOURCE)
        if not since:
            self.database.rows(BEGIN, SOURCE)
        parameters = {"include_docs": "true", "since": since[0][0] if since else "0"}
        page = requests.get(f"{self.url}/_changes", params=parameters, auth=self.auth, timeout=10).json()
        for row in page["results"]:
            deleted = row.get("deleted", False)
            stub = {"_id": row["id"], "_rev": row["changes"][0]["rev"], "_deleted": True}
            self.database.rows(SAVE, stamp, row["id"], deleted, SOURCE, json.dumps(stub if deleted else row["doc"]))
        self.database.rows(REMEMBER, str(page["last_seq"]), SOURCE)
        return {row["id"] for row in page["results"]}

    def sync(self):
        return CouchDBToPostgresOperator(task_id="sync", database=NAME).execute({})

    def tombstones(self):
        """Deleted documents and the fields that are stored of them."""
        rows = self.database.rows("select _id, doc from v1.couchdb where _deleted")
        assert all(doc["_id"] == name and doc["_rev"].startswith("2-") and doc["_deleted"] for name, doc in rows)
        return {name: set(doc) for name, doc in rows}

    def differences(self):
        return compare(self.server.url, self.auth, NAME, SOURCE, self.database.dsn).differences

    def stamps(self):
        return dict(self.database.rows("select _id, saved_timestamp::text from v1.couchdb"))


@pytest.fixture
def deployment(couchdb_server, database, monkeypatch):
    address = urlsplit(couchdb_server.url)
    for variable, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(address.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
        "COUCHDB_DBS": NAME,
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
    yield Deployment(couchdb_server, database)
    requests.delete(f"{couchdb_server.url}/{NAME}", auth=couchdb_server.auth, timeout=10)


def test_the_copy_goes_on_from_either_checkpoint(deployment):
    deployment.write("a", "b")
    assert deployment.couch2pg("2024-01-01") == {"a", "b"}
    deployment.database.rows("insert into v1.contact values ('a', '2024-01-01')")

    # Over: couch2pg is stopped, the check is asked, the DAG is unpaused.
    lines = []
    check(show=lines.append)
    assert any(line.startswith("ok       Table v1.couchdb: the first run applies") for line in lines)
    assert any(line.startswith("ok       Rights, documents") for line in lines)
    deployment.write("c")
    summary = deployment.sync()
    assert summary["documents"] == 1
    stamps = deployment.stamps()
    assert (stamps["a"], stamps["b"]) == ("2024-01-01 00:00:00", "2024-01-01 00:00:00")
    assert stamps["c"] > stamps["a"]
    assert deployment.database.rows("select uuid from v1.dashboard") == [("a",)]

    # Back: the DAG is paused, couch2pg is started.
    deployment.write("d")
    assert deployment.couch2pg("2034-01-01") == {"d"}
    assert deployment.stamps() == {**stamps, "d": "2034-01-01 00:00:00"}

    # And over again.
    deployment.write("e")
    summary = deployment.sync()
    assert summary["documents"] == 1
    assert {name for name, stamp in deployment.stamps().items() if stamp == "2034-01-01 00:00:00"} == {"d"}
    assert deployment.database.rows("select pending, seq is not null from v1.couchdb_progress") == [(0, True)]


STUB = {"_id", "_rev", "_deleted"}


def test_deletes_are_stored_alike_on_both_sides_of_a_take_over(deployment):
    deployment.write("a", "b", "c", "d", "e")
    deployment.delete("a")
    deployment.couch2pg("2024-01-01")
    assert deployment.tombstones() == {"a": STUB}

    # Over.
    deployment.delete("b")
    assert deployment.sync()["rows"] == 1
    assert deployment.tombstones() == {"a": STUB, "b": STUB}
    assert deployment.stamps()["a"] == "2024-01-01 00:00:00"
    assert deployment.differences() == []
    lines = verify(Settings(), content=True)
    assert [(line.verdict, line.equal) for line in lines] == [("equal", True)]

    # Back, and over again.
    deployment.delete("c")
    assert deployment.couch2pg("2034-01-01") == {"c"}
    deployment.delete("d")
    assert deployment.sync()["rows"] == 1
    assert deployment.tombstones() == dict.fromkeys("abcd", STUB)
    assert deployment.differences() == []

    # Read again from its beginning, nothing is written that was there.
    stamps = deployment.stamps()
    deployment.database.rows("update v1.couchdb_progress set seq = null")
    assert deployment.sync()["rows"] == 0
    assert deployment.stamps() == stamps
    assert deployment.database.rows("select manifest, dbt_selector from v1._dataemon") == [({"nodes": {}}, "")]
