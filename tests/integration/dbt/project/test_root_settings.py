"""What a project says for its packages counts below the wrapper as it does where the project is dbt's root."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from dbt.cli.main import dbtRunner

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.launch.environment import to_parse
from cht_sync.dbt.launch.profile import PROFILE, TARGET, profile_text
from cht_sync.dbt.project.packages import STARTER_PATH
from cht_sync.settings.settings import REPOSITORY

pytestmark = pytest.mark.integration

PACKAGE = "name: {name}\nversion: 1.0.0\nconfig-version: 2\n"
SHOWS = (
    "{{ config(meta={'var': var('shown'), 'mine': var('mine', 'no'), 'label': lower.label('a'), 'type': dbt.type_string()}) }}"
    " select 1 as one"
)
FILES = {
    "dbt_project.yml": """
name: upper
version: 1.0.0
config-version: 2
profile: cht_sync
vars:
  shown: by the project
  middle: {shown: to the middle, mine: 'yes'}
flags: {require_ref_searches_node_package_before_root: true}
models:
  +tags: [all]
  +meta: {owner: us}
  +post_hook: "select 1"
  +materialized: table
  upper: {+schema: own}
  middle:
    +tags: middle
    +meta: {of: middle}
    +pre-hook: ["select 2"]
    deep: {+schema: "{{ env_var('POSTGRES_SCHEMA') }}_deep", +grants: {select: [reader]}}
  lower: {+materialized: view, +enabled: true}
seeds: {+quote_columns: true, lower: {+schema: seeded}}
snapshots: {+schema: history}
data_tests: {+severity: warn}
sources: {middle: {+meta: {known: true}}}
""",
    "packages.yml": "packages:\n  - local: packages/middle\n",
    "macros/names.sql": (
        "{% macro prefix(word='by') %}{{ word }}{{ infix() }}{% endmacro %}{% macro infix() %}_{% endmacro %}"
        "{% macro generate_schema_name(custom_schema_name, node) -%}"
        "{{ prefix() }}{{ custom_schema_name or 'none' }}_{{ node.package_name }}{%- endmacro %}"
        "{%- macro generate_alias_name(custom_alias_name=none, node=none) -%}x_{{ custom_alias_name or node.name }}{%- endmacro %}"
        "{% macro default__label(name) %}upper of {{ name }}{% endmacro %}"
        "{% macro default__type_string() %}varchar{% endmacro %}"
    ),
    "models/top.sql": "{{ config(materialized='view', tags=['top']) }} select * from {{ ref('first') }}",
    "models/models.yml": "models: [{name: top, columns: [{name: one, data_tests: [not_null]}]}]",
    "packages/middle/dbt_project.yml": PACKAGE.format(name="middle")
    + "models: {middle: {+tags: [own], +schema: base}}\n",
    "packages/middle/packages.yml": "packages:\n  - local: packages/lower\n",
    "packages/middle/models/first.sql": SHOWS,
    "packages/middle/models/deep/second.sql": "{{ config(materialized='incremental') }} select * from {{ ref('first') }}",
    "packages/middle/models/models.yml": (
        "models: [{name: first, columns: [{name: one, data_tests: [unique]}]}]\n"
        "sources: [{name: raw, schema: v1, tables: [{name: couchdb}]}]"
    ),
    "packages/lower/dbt_project.yml": PACKAGE.format(name="lower") + "vars: {shown: by itself}\n",
    "packages/lower/macros/label.sql": (
        "{% macro label(name) %}{{ return(adapter.dispatch('label', 'lower')(name)) }}{% endmacro %}"
        "{% macro default__label(name) %}lower of {{ name }}{% endmacro %}"
    ),
    "packages/lower/models/third.sql": SHOWS,
    "packages/lower/seeds/words.csv": "a\n1\n",
    "packages/lower/snapshots/then.yml": (
        "snapshots: [{name: then, relation: ref('third'), config: {unique_key: one, strategy: check, check_cols: all}}]"
    ),
}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def nodes(manifest):
    told = json.loads(manifest.read_text())
    found = {**told["nodes"], **told["sources"]}
    return {
        name: {
            **{key: one.get(key) for key in ("database", "schema", "alias")},
            "config": {key: value for key, value in one["config"].items() if key not in {"tags", "meta"}},
            "tags": sorted(set(one["tags"])),
            "meta": one["config"].get("meta"),
        }
        for name, one in found.items()
        if one["resource_type"] != "operation"
    }


def plain(folder, settings):
    """The same project as dbt's root."""
    profiles = write(folder.parent / "profiles", {"profiles.yml": profile_text(settings)})
    with pytest.MonkeyPatch.context() as patch:
        for key, value in to_parse(settings).items():
            patch.setenv(key, value)
        where = [
            "--project-dir",
            str(folder),
            "--profiles-dir",
            str(profiles),
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ]
        for command in ("deps", "parse"):
            done = dbtRunner().invoke(["--quiet", "--log-level-file", "none", command, *where])
            assert done.success, done.exception
    return nodes(folder / "target" / "manifest.json")


def test_packages_of_packages_are_as_where_the_project_is_the_root(tmp_path, settings, caplog):
    team = write(tmp_path / "team", FILES)
    shutil.copytree(team, tmp_path / "alone")
    named = settings(DBT_LOCAL_PATH=str(team))
    made = install(named)
    expected = plain(tmp_path / "alone", named)
    assert nodes(made.path / "target" / "manifest.json") == expected
    # It was no matter of course.
    assert expected["model.lower.third"]["meta"]["label"] == "upper of a"
    assert expected["model.middle.second"]["schema"] == "by_v1_deep_middle"
    assert "root project" not in caplog.text


def test_what_the_starter_says_stays_and_what_dbt_refuses_is_told(tmp_path, settings, caplog):
    caplog.set_level(logging.WARNING)
    shutil.copytree(REPOSITORY / STARTER_PATH, tmp_path / "team" / STARTER_PATH)
    files = {
        "dbt_project.yml": (
            "name: upon\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\nquoting: {identifier: false}\n"
            "models: {+schema: theirs, cht_starter: {+tags: [seen], users: {+materialized: view}}}\n"
        ),
        "packages.yml": f"packages:\n  - local: {STARTER_PATH}\n",
        "macros/names.sql": (
            "{% macro helper() %}team{% endmacro %}"
            "{% macro generate_schema_name(custom_schema_name, node) %}{{ upon.helper() }}{% endmacro %}"
        ),
        "models/one.sql": "select 1 as one",
    }
    team = write(tmp_path / "team", files)
    named = settings(DBT_LOCAL_PATH=str(team))
    found = nodes(install(named).path / "target" / "manifest.json")
    user = found["model.cht_starter.user"]
    assert (user["schema"], user["config"]["materialized"], "seen" in user["tags"]) == ("v1", "incremental", True)
    assert found["model.upon.one"]["schema"] == "team"
    assert "do not count: models.cht_starter.users.+materialized, quoting." in caplog.text

    # What dbt refuses of the wrapper leaves all to the project's own models.
    caplog.clear()
    write(team, {"dbt_project.yml": files["dbt_project.yml"].replace("{+tags", "{+meta: no mapping, +tags")})
    found = nodes(install(named).path / "target" / "manifest.json")
    assert (found["model.upon.one"]["schema"], found["model.cht_starter.user"]["schema"]) == ("team", "v1")
    assert "refuses it there: dbt parse says" in caplog.text
