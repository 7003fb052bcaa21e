"""Whatever ``dbt --select`` takes means the same in ``DBT_SELECTOR``; dbt itself says what."""

from __future__ import annotations

import json

import pytest
from dbt.contracts.graph.manifest import Manifest

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.project.groups import model_groups
from cht_sync.dbt.project.version import require_current
from cht_sync.dbt.render.models_group import read_graph
from cht_sync.errors import SettingsError
from tests.dbt_in_process import dbtRunner

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FILES = {
    "models/people/person.sql": "{{ config(materialized='table', meta={'owner': 'a'}) }} select * from {{ source('raw', 'couchdb') }}",
    "models/people/contact.sql": "select * from {{ ref('person') }}",
    "models/forms/visit.sql": "{{ config(tags=['forms']) }} select 1 as id from {{ ref('places') }}",
    "models/forms/last.sql": "select * from {{ ref('visit') }}",
    "seeds/places.csv": "id\n1\n",
    "selectors.yml": "selectors:\n  - {name: by_path, definition: {method: path, value: models/forms}}\n",
    "models/models.yml": """
groups: [{name: team_a, owner: {name: a, email: a@example.org}}]
sources: [{name: raw, schema: v1, tables: [{name: couchdb}]}]
models:
  - {name: contact, config: {group: team_a, access: private}, columns: [{name: uuid, data_tests: [not_null]}]}
exposures:
  - {name: page, type: dashboard, owner: {name: a, email: a@example.org}, depends_on: [ref('last')]}
""",
}
EXPRESSIONS = {
    "path:models/people": {"person", "contact"},
    "path:models/forms/visit.sql+": {"visit", "last"},
    "file:visit.sql": {"visit"},
    "source:raw+": {"person", "contact"},
    "source:raw.couchdb+1": {"person"},
    "+exposure:page": {"visit", "last"},
    "access:private": {"contact"},
    "group:team_a": {"contact"},
    "config.meta.owner:a": {"person"},
    "config.materialized:table,path:models": {"person"},
    "places+1": {"visit"},
    "resource_type:seed+": {"visit", "last"},
    "path:models/people tag:forms": {"person", "contact", "visit"},
    "@source:raw": {"person", "contact"},
    "path:models/forms people": {"visit", "last", "person", "contact"},
    "selector:by_path": {"visit", "last"},
}
# What is read without dbt has to mean the same as with it.
OWN = ["people", "+contact", "1+last", "visit+", "tag:forms", "team.forms", "config.materialized:view", "p*", "@visit"]


def test_each_expression_means_what_dbt_says(team, monkeypatch):
    team.write(FILES)
    install(team.settings)
    # What dbt has said once counts in other expressions too.
    known = {"tag:forms", "people"}
    for expression, names in EXPRESSIONS.items():
        monkeypatch.setenv("DBT_SELECTOR", expression)
        if not known.issuperset(expression.split()):
            with pytest.raises(SettingsError, match=r"which dbt has to resolve: trigger|selects no model"):
                drawn(team)
        known |= set(expression.split())
        install(team.settings)
        assert drawn(team) == [names], expression
    parsed = parsed_by_dbt(team)
    for expression in OWN:
        monkeypatch.setenv("DBT_SELECTOR", expression)
        assert drawn(team) == [by_dbt(team, parsed, expression)], expression

    for wrong in ("state:modified", "no_such_method:x"):
        monkeypatch.setenv("DBT_SELECTOR", wrong)
        with pytest.raises(SettingsError, match="cannot be used because of .*: dbt says: "):
            install(team.settings)


def test_groups_are_deployed_and_run_by_it(team, database, monkeypatch):
    monkeypatch.setenv("DBT_SELECTOR", "path:models/forms; source:raw+")
    team.write(FILES)
    assert team.deploy()
    assert drawn(team) == [{"visit", "last"}, {"person", "contact"}]
    # The seed that the first group reads came with it; a change of one model is planned by the same selection.
    assert team.rebuilt == {"places"}
    assert team.run().result.success
    monkeypatch.setenv("DBT_SELECTOR", "path:models/forms")
    team.write(
        {
            "models/forms/last.sql": "select *, 2 as two from {{ ref('visit') }}",
            "models/people/new.sql": "select 1 as a",
        }
    )
    assert team.deploy()
    assert {one["model"] for one in team.planned} == {"last"}


def drawn(team):
    graph = read_graph(require_current(team.settings))
    return [{graph["nodes"][name]["name"] for name in group.models} for group in model_groups(graph, team.settings)]


def parsed_by_dbt(team):
    return dbtRunner().invoke(["--quiet", "parse", *team.dbt()._for_parse]).result.to_msgpack()


def by_dbt(team, parsed, expression):
    dbt = team.dbt()
    command = ["--quiet", "ls", "--select", expression, "--resource-type", "model", "--output", "json"]
    done = dbtRunner(manifest=Manifest.from_msgpack(parsed)).invoke(
        [*command, "--output-keys", "name", *dbt._for_parse]
    )
    assert done.success
    return {json.loads(line)["name"] for line in done.result}
