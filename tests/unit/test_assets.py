import json

import pytest
from airflow.sdk import Connection

from cht_sync.assets import database_dataset, table_asset, table_dataset
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.settings.settings import RawTable, Settings


@pytest.mark.parametrize(
    ("connection", "namespace"),
    [
        ("http://reader:secret@couch:5984", "couchdb://couch:5984"),
        ("http://reader:secret@couch.example.org/https", "couchdb://couch.example.org:443"),
        ("http://reader:secret@couch.example.org", "couchdb://couch.example.org:443"),
        ("http://reader:secret@couch.example.org/http", "couchdb://couch.example.org:80"),
        ("http://reader:secret@%5B%3A%3A1%5D:5984", "couchdb://[::1]:5984"),
    ],
)
def test_a_database_is_named_by_its_server_with_port_and_without_user(connection, namespace, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", connection)
    assert database_dataset(CouchDBHook(), "medic") == (namespace, "medic")


@pytest.mark.parametrize(
    ("server", "namespace"),
    [
        ({"host": "db", "port": 5433}, "postgres://db:5433"),
        ({}, "postgres://localhost:5432"),
        ({"host": "/var/run/postgresql"}, "postgres://localhost:5432"),
        ({"host": "::1", "port": 5433}, "postgres://[::1]:5433"),
        ({"host": "one,two"}, "postgres://one:5432"),
    ],
)
def test_the_table_is_named_as_dbt_names_it(server, namespace, monkeypatch):
    known = {"conn_type": "postgres", "schema": "cht", "login": "w", "password": "p", **server}
    connection = Connection(conn_id="cht_postgres", **known)
    assert table_dataset(connection, RawTable("v1", "couchdb")) == (namespace, "cht.v1.couchdb")
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", json.dumps(known))
    assert table_asset(Settings()).uri == f"{namespace}/cht/v1/couchdb"
