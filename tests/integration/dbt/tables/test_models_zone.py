"""Models compute dates in the time zone that is noted, whatever the server's has become."""

from __future__ import annotations

import pytest

from cht_sync.dbt.tables.models_zone import models_zone
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import write_project
from tests.integration.dbt.deploy.test_deploy import Deploy

pytestmark = pytest.mark.integration
DAYS = """
{{ config(materialized='incremental', unique_key='zone') }}
select current_setting('timezone') as zone, timestamptz '2024-01-01 22:30:00+00'::date as day
"""


@pytest.fixture
def server_zone(database):
    def change(zone):
        database.rows(f"alter database {database.name} set timezone = '{zone}'")

    return change


@pytest.fixture
def zones(database, store, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("DBT_LOCAL_PATH", str(write_project(tmp_path / "little", **{"models/days.sql": DAYS})))
    return Deploy(Settings())


def noted(database):
    return database.rows("select time_zone from v1.couchdb_deployment")


def test_new_models_are_computed_in_utc(zones, database, server_zone):
    server_zone("Africa/Nairobi")
    assert models_zone(Settings()) == "UTC"
    assert zones()
    assert noted(database) == [("UTC",)]
    zones.run_models()
    assert database.rows("select zone, day::text from v1.days") == [("UTC", "2024-01-01")]


def test_models_that_were_there_go_on_in_their_zone(zones, database, server_zone):
    assert zones()
    # As an earlier release left it.
    database.rows("update v1.couchdb_deployment set time_zone = null")
    server_zone("Africa/Nairobi")
    zones.run_models()
    assert noted(database) == [("Africa/Nairobi",)]
    server_zone("America/Los_Angeles")
    zones.run_models()
    assert database.rows("select zone, day::text from v1.days") == [("Africa/Nairobi", "2024-01-02")]


def test_models_of_cht_sync_2_go_on_in_the_zone_of_the_server(zones, database, server_zone):
    database.rows("insert into v1._dataemon (manifest) values ('{\"nodes\": {}}')")
    server_zone("Africa/Nairobi")
    assert models_zone(Settings()) == "Africa/Nairobi"
    assert database.rows("select * from v1.couchdb_deployment") == []
