import json

import pytest

from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import SettingsError


def connect(monkeypatch, conn_id, host, **extra):
    text = json.dumps({"conn_type": "http", "host": host, "login": "a", "password": "b", "extra": extra})
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)


def names():
    return [(each["couchdb_conn_id"], each["database"], each["source"]) for each in configured_sources()]


def test_one_server_from_the_environment(monkeypatch):
    monkeypatch.setenv("COUCHDB_HOST", "Couch.example.org")
    monkeypatch.setenv("COUCHDB_DBS", "medic, medic-sentinel")
    assert names() == [
        ("cht_couchdb", "medic", "couch.example.org/medic"),
        ("cht_couchdb", "medic-sentinel", "couch.example.org/medic-sentinel"),
    ]


def test_several_servers_each_with_its_databases(monkeypatch):
    connect(monkeypatch, "north", "north.example.org", databases="medic medic-sentinel")
    connect(monkeypatch, "south", "https://south.example.org:6984", databases=["medic"])
    monkeypatch.setenv("CHT_COUCHDB_CONN_IDS", "north,south")
    assert names() == [
        ("north", "medic", "north.example.org/medic"),
        ("north", "medic-sentinel", "north.example.org/medic-sentinel"),
        ("south", "medic", "south.example.org/medic"),
    ]


def test_a_connection_without_databases_takes_those_of_the_environment(monkeypatch):
    connect(monkeypatch, "north", "north.example.org")
    monkeypatch.setenv("CHT_COUCHDB_CONN_IDS", "north")
    monkeypatch.setenv("COUCHDB_DBS", "medic")
    assert names() == [("north", "medic", "north.example.org/medic")]


def test_two_sources_of_one_name_are_refused_unless_told_apart(monkeypatch):
    monkeypatch.setenv("COUCHDB_DBS", "medic")
    monkeypatch.setenv("CHT_COUCHDB_CONN_IDS", "one two")
    connect(monkeypatch, "one", "http://couch:5984")
    connect(monkeypatch, "two", "http://couch:5985")
    with pytest.raises(SettingsError, match=r"'couch/medic' is named twice.*connection 'two'.*'instance'"):
        configured_sources()
    connect(monkeypatch, "two", "http://couch:5985", instance="couch-2")
    assert [source for _, _, source in names()] == ["couch/medic", "couch-2/medic"]


def test_a_connection_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("CHT_COUCHDB_CONN_IDS", "north")
    monkeypatch.setenv("COUCHDB_DBS", "medic")
    with pytest.raises(SettingsError, match="no connection 'north'"):
        configured_sources()
