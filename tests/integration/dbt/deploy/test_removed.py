"""A model that is removed leaves a table, which is named until somebody drops it."""

from __future__ import annotations

import logging

import pytest

from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.errors import SettingsError
from cht_sync.monitoring.destination import opened
from cht_sync.monitoring.models_reader import read_removed
from cht_sync.settings.connections import postgres_connection

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FILES = {
    "models/kept.sql": "{{ config(materialized='table') }} select 1 as a",
    "models/old.sql": "{{ config(materialized='table') }} select 1 as a",
    "models/older.sql": "select * from {{ ref('old') }}",
}


def named(team):
    with opened(postgres_connection(team.settings), team.settings, "read what was removed") as destination:
        return [each.relation for each in read_removed(destination)]


def test_a_removed_model_is_named_until_its_table_is_dropped(team, database, caplog):
    caplog.set_level(logging.WARNING)
    team.write(FILES)
    team.deploy()
    team.run()
    assert named(team) == []
    team.write({"models/old.sql": None, "models/older.sql": None})
    team.deploy()
    assert (team.report["removed"], named(team)) == (["v1.old", "v1.older"], ["v1.old", "v1.older"])
    assert "v1.old is of no model any more: nothing updates it. Param drop_removed drops it." in caplog.text

    # Later deployments go on to name it; one that is a model again is none of them.
    team.write({"models/kept.sql": FILES["models/kept.sql"] + ", 2 as b"})
    team.deploy()
    assert (team.rebuilt, team.report["removed"]) == ({"kept"}, ["v1.old", "v1.older"])
    assert team.deploy() is None

    with pytest.raises(SettingsError, match=r"drop_removed names 'v1.kept', .*: v1.old, v1.older\."):
        team.deploy(drop_removed=["v1.kept"])
    # What people made upon it is theirs.
    database.rows("create view public.mine as select * from v1.old")
    with pytest.raises(RebuildError, match="v1.old cannot be dropped, nothing was: view mine depends on table v1.old"):
        team.deploy(drop_removed=["all"])
    assert named(team) == ["v1.old", "v1.older"]
    database.rows("drop view public.mine")
    # One that another of them hangs on goes after it.
    assert team.deploy(drop_removed=["all"])
    assert (team.report["dropped"], team.report["removed"], team.report["rebuilt"]) == (["v1.old", "v1.older"], [], [])
    assert named(team) == []
    assert database.value("select to_regclass('v1.old') is null and to_regclass('v1.older') is null") is True
    assert database.value("select to_regclass('v1.kept') is not null") is True
    assert team.deploy() is None


def test_what_dbt_selector_no_longer_chooses_is_named_too(team, database, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    team.write(
        {
            "models/kept.sql": "{{ config(materialized='table') }} select 1 as a",
            "models/old.sql": "{{ config(materialized='incremental') }} select 1 as a",
            "models/seen.sql": "select * from {{ ref('kept') }}",
            "models/reads.sql": "{{ config(materialized='table') }} select * from {{ ref('old') }}",
            "snapshots/then.sql": "{% snapshot then %}{{ config(unique_key='a', strategy='check', check_cols=['a']) }}"
            "select * from {{ ref('kept') }}{% endsnapshot %}",
        }
    )
    team.deploy()
    team.run()

    # A snapshot that is removed is named, too; a view goes on to show what it reads.
    monkeypatch.setenv("DBT_SELECTOR", "kept reads")
    team.write({"snapshots/then.sql": None})
    team.deploy()
    assert team.report["removed"] == named(team) == ["v1.old", "v1.then"]
    assert (
        "v1.old is of a model that DBT_SELECTOR does not choose any more: nothing updates it, and reads reads it. Param"
        " drop_removed drops it." in caplog.text
    )
    with pytest.raises(SettingsError, match="Param drop_removed names v1.old, which reads still reads; nothing was"):
        team.deploy(drop_removed=["v1.old"])

    # Who chooses it again has a model again; and the other way round without a new version.
    monkeypatch.setenv("DBT_SELECTOR", "")
    assert team.deploy()
    assert (team.report["removed"], named(team), team.deploy()) == (["v1.then"], ["v1.then"], None)
    monkeypatch.setenv("DBT_SELECTOR", "kept reads")
    assert team.deploy()
    assert (named(team), team.deploy()) == (["v1.old", "v1.then"], None)


def test_what_somebody_drops_or_puts_back_is_named_no_more(team, database):
    team.write(FILES)
    team.deploy()
    team.run()
    team.write({"models/older.sql": None})
    team.deploy()
    assert named(team) == ["v1.older"]
    team.write({"models/older.sql": FILES["models/older.sql"]})
    team.deploy()
    assert named(team) == []
    # A model that is written into those which read it has no table of its own any more.
    team.write({"models/older.sql": "{{ config(materialized='ephemeral') }} " + FILES["models/older.sql"]})
    team.deploy()
    assert named(team) == ["v1.older"]
    database.rows("drop view v1.older")
    assert named(team) == []
