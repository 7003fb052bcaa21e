"""Taking a live database of CHT Sync 2.x over, and giving it back: docs/how-to-cht-sync-2.md, step by step."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
import requests

from cht_sync.check.command import check
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration
NAME = mine("take-over")
SOURCE = f"127.0.0.1/{NAME}"
# What CHT Sync 2.x leaves behind, with a model and a dashboard on it.
TABLES = """
create schema v1;
create table v1.couchdb (
    saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb
);
create index _deleted on v1.couchdb (_deleted);
create index saved_timestamp on v1.couchdb (saved_timestamp);
create index source on v1.couchdb (source);
create table v1.couchdb_progress (seq varchar, pending integer, updated_at timestamptz, source varchar primary key);
create table v1._dataemon (inserted_on timestamp default current_timestamp, packages jsonb, manifest jsonb);
create table v1.contact (uuid varchar primary key, saved_timestamp timestamp);
create view v1.dashboard as select uuid from v1.contact;
"""
SAVE = """
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values (%s, %s, false, %s, %s)
on conflict (_id) do update set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted,
    source = excluded.source, doc = excluded.doc
"""
REMEMBER = """
insert into v1.couchdb_progress (seq, pending, updated_at, source) values (%s, 0, current_timestamp, %s)
on conflict (source) do update set seq = excluded.seq, pending = excluded.pending, updated_at = excluded.updated_at
"""


class Deployment:
    """A CouchDB database, and a Postgres that CHT Sync 2.x has copied it to."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self.url, self.auth = f"{server.url}/{NAME}", server.auth
        requests.put(self.url, auth=self.auth, timeout=10).raise_for_status()
        database.rows(TABLES)

    def write(self, *ids):
        documents = [{"_id": each, "type": "person", "name": f"Ámina {each}"} for each in ids]
        asked = {"json": {"docs": documents}, "params": EVERYWHERE}
        answer = requests.post(f"{self.url}/_bulk_docs", auth=self.auth, timeout=10, **asked)
        answer.raise_for_status()

    def couch2pg(self, stamp):
        """Copy what is new since the checkpoint and move it, with the statements of CHT Sync 2.x; gives the ids."""
        since = self.database.rows("select seq from v1.couchdb_progress where source = %s", SOURCE)
        parameters = {"include_docs": "true", "since": since[0][0] if since else "0"}
        page = requests.get(f"{self.url}/_changes", params=parameters, auth=self.auth, timeout=10).json()
        for row in page["results"]:
            self.database.rows(SAVE, stamp, row["id"], SOURCE, json.dumps(row["doc"]))
        self.database.rows(REMEMBER, str(page["last_seq"]), SOURCE)
        return {row["id"] for row in page["results"]}

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
    summary = CouchDBToPostgresOperator(task_id="sync", database=NAME).execute({})
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
    summary = CouchDBToPostgresOperator(task_id="sync", database=NAME).execute({})
    assert summary["documents"] == 1
    assert {name for name, stamp in deployment.stamps().items() if stamp == "2034-01-01 00:00:00"} == {"d"}
    assert deployment.database.rows("select pending, seq is not null from v1.couchdb_progress") == [(0, True)]
