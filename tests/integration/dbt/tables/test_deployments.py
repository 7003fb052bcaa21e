"""What Postgres remembers of deployments."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from cht_sync.dbt.project.version import MANIFEST_FILE, Deployment
from cht_sync.dbt.tables.deployments import Deployments, Recorded
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings
from tests.servers import mine

pytestmark = pytest.mark.integration


@pytest.fixture
def deployments(database):
    return Deployments(Settings())


@pytest.fixture
def version(tmp_path):
    """Makes a version; its manifest holds its name."""

    def make(name):
        path = tmp_path / name
        path.mkdir()
        (path / MANIFEST_FILE).write_text(json.dumps({"name": name}))
        return Deployment(path, path, f"https://h/{name}#main", "f", name, "b")

    return make


def record(deployments, *arguments):
    with closing(connect(dbt_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        deployments.record(cursor, *arguments)


def test_nothing_is_known_before_anything_was_copied(deployments, database, version):
    assert deployments.recorded() == Recorded({})
    assert deployments.manifests([""]) == {"": None}
    assert not deployments.record_first(version("one"), [""])
    assert database.tables() == set()


def test_the_first_version_is_noted_once(deployments, database, version):
    deployments.prepare()
    deployments.prepare()
    one = version("one")
    assert deployments.record_first(one, [""])
    assert not deployments.record_first(version("two"), [""])
    assert deployments.recorded().version([""]) == "f-one-b"
    assert deployments.manifests([""]) == {"": {"name": "one"}}
    (row,) = database.rows("select packages, dbt_selector from v1._dataemon")
    assert row == ({"packages": [{"source": one.source, "revision": "one"}]}, None)


def test_what_cht_sync_2_left_is_the_state_to_compare_with(deployments, database, version):
    database.rows("create schema v1")
    database.rows("create table v1._dataemon (inserted_on timestamp default now(), packages jsonb, manifest jsonb)")
    database.rows('insert into v1._dataemon (manifest) values (\'{"name": "theirs"}\')')
    deployments.prepare()
    assert deployments.recorded() == Recorded({})
    assert deployments.manifests([""]) == {"": {"name": "theirs"}}
    # What builds next is not what built the tables: only a deployment may say so.
    assert not deployments.record_first(version("one"), [""])
    record(deployments, version("two"), [""], Recorded({}), "")
    assert database.rows("select manifest ->> 'name', inserted_on is not null from v1._dataemon") == [("two", True)]


def test_a_deployment_that_was_overtaken_changes_nothing(deployments, version):
    deployments.prepare()
    one, two, three = version("one"), version("two"), version("three")
    record(deployments, one, [""], Recorded({}), "")
    before = deployments.recorded()
    record(deployments, two, [""], before, "")
    with pytest.raises(StoreError, match="trigger the DAG cht_pipeline_deploy again"):
        record(deployments, three, [""], before, "")
    with pytest.raises(StoreError, match="Another version"):
        deployments.require_unchanged(three, [""], before)
    assert deployments.recorded().versions == {"": two.version}
    assert deployments.manifests([""]) == {"": {"name": "two"}}
    # Done again, as by a task that was cleared.
    record(deployments, two, [""], before, "held-one")
    assert deployments.recorded() == Recorded({"": two.version}, "held-one")


def test_each_group_of_models_has_its_own(deployments, version, monkeypatch):
    deployments.prepare()
    one, two = version("one"), version("two")
    monkeypatch.setenv("DBT_SELECTOR", " tag:base;tag:user ;")
    groups = Settings().dbt_groups
    assert groups == ["tag:base", "tag:user"]
    record(deployments, one, groups, Recorded({}), "")
    before = deployments.recorded()
    assert before.is_for(groups, one.version)
    record(deployments, two, ["tag:user"], before, "")
    now = deployments.recorded()
    assert not now.is_for(groups, two.version)
    assert now.version(["tag:user"]) == now.version(groups) == now.version(["tag:new"]) == two.version
    assert now.version(["tag:base"]) == one.version
    assert deployments.manifests([*groups, "tag:new"]) == {
        "tag:base": {"name": "one"}, "tag:user": {"name": "two"}, "tag:new": {"name": "two"},
    }  # fmt: skip


def test_a_role_of_the_models_gets_the_right_to_note_them(deployments, database, version, monkeypatch):
    role = mine("deploys_models")
    database.rows(f"create role {role} login password 'x'")
    monkeypatch.setenv("DBT_POSTGRES_USER", role)
    monkeypatch.setenv("DBT_POSTGRES_PASSWORD", "x")
    assert dbt_connection().login != postgres_connection().login
    deployments.prepare()
    database.rows(f"grant usage on schema v1 to {role}")
    record(deployments, version("one"), [""], Recorded({}), "")
    assert deployments.recorded().version([""]) == "f-one-b"


def test_a_role_that_may_not_give_the_right_is_told(deployments, database, monkeypatch):
    deployments.prepare()
    poor, reader = mine("owns_nothing"), mine("reads_only")
    for statement in (
        f"create role {poor} login password 'x'",
        f"create role {reader} nologin",
        f"grant usage on schema v1 to {poor}",
        f"grant select on all tables in schema v1 to {poor}",
    ):
        database.rows(statement)
    monkeypatch.setenv("POSTGRES_USER", poor)
    monkeypatch.setenv("POSTGRES_PASSWORD", "x")
    monkeypatch.setenv("DBT_POSTGRES_USER", reader)
    with pytest.raises(SettingsError, match=f"may not let role '{reader}' record deployments"):
        deployments.prepare()
