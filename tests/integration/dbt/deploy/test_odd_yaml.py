"""A project whose YAML holds dates and other values that plain JSON or msgpack does not know."""

from __future__ import annotations

import json
import logging

import pytest

from cht_sync.errors import SettingsError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PROJECT = """
name: team
version: 1.0.0
config-version: 2
profile: cht_sync
vars: {since: 2024-05-01, at: 2024-05-01 10:00:00, code: 010}
models:
  +meta: &meta {reviewed: 2024-05-01, at: 2024-05-01T10:00:00+03:00, ratio: .nan, most: .inf}
  team:
    +meta: {<<: *meta, zero: "a\\0b", octal: 010, time: 12:30:45, sure: yes}
"""
MODELS = """
models:
  - name: visits
    description: "Nothing \\0 here."
    config: {begin: 2024-05-01}
    columns:
      - name: day
        meta: {since: 2024-05-01}
        data_tests:
          - accepted_values: {arguments: {values: [2024-05-01, 2024-05-02], quote: true}}
  - name: later
    config: {meta: {until: 2024-12-31}}
exposures:
  - {name: page, type: dashboard, owner: {name: n, email: n@example.org}, meta: {since: 2024-05-01}}
"""
SEEN = """
{{ config(materialized='incremental', incremental_strategy='microbatch', unique_key='day', event_time='day',
    batch_size='year') }}
select date '2024-05-01' as day, '{{ var('since') }}'::date as since
"""
LATER = "select '{{ config.get('meta').reviewed }}'::date as reviewed, max(day) as day from {{ ref('visits') }}"
FILES = {
    "dbt_project.yml": PROJECT,
    "models/visits.sql": SEEN,
    "models/later.sql": LATER,
    "models/models.yml": MODELS,
}


def test_a_project_with_dates_is_deployed_run_and_rebuilt(team, database):
    team.write(FILES)
    assert team.deploy()
    for _ in range(2):
        told = team.run()
        assert (told.result.success, told.status) == (True, {"visits": "success", "later": "success"})
    assert database.rows("select reviewed::text, day::text from v1.later") == [("2024-05-01", "2024-05-01")]
    # What is stored is JSON: dates as text, what is no number as a word, no U+0000.
    meta = database.value("select manifest -> 'nodes' -> 'model.team.visits' -> 'config' -> 'meta' from v1._dataemon")
    assert (meta["reviewed"], meta["ratio"], meta["most"], meta["zero"]) == (
        "2024-05-01",
        "NaN",
        "Infinity",
        "a\ufffdb",
    )
    # Nothing changed: what was stored reads the same again, so that nothing counts as modified.
    assert team.deploy() is None
    assert team.deploy(force=True)
    assert (team.planned, team.report["rebuilt"]) == ([], [])
    # One of them did: it is built aside by the dbt that was handed the same manifest.
    team.write({"models/visits.sql": SEEN.replace("as since", "as since, 1 as one")})
    assert team.deploy()
    assert team.rebuilt == {"visits", "later"}
    assert database.rows("select one from v1.visits") == [(1,)]
    assert team.run().result.success


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("!!set {a, b}", "dbt parse says: .*got <class 'set'>"),
        ("9" * 30, "dbt parse says: .*Integer value out of range"),
        (
            "[{2024: a}]",
            "meta of model later has the key 2024, which is not a text and makes dbt hang: write it in quotes",
        ),
    ],
)
def test_what_dbt_cannot_keep_fails_while_it_is_deployed(team, value, said):
    team.write({**FILES, "models/models.yml": MODELS.replace("2024-12-31", value)})
    with pytest.raises(SettingsError, match=said):
        team.deploy()


def test_deprecations_are_told_once_for_a_version_and_errors_as_errors(team, database, caplog):
    caplog.set_level(logging.INFO)
    old = {
        "models/models.yml": "models:\n  - {name: good, columns: [{name: a, tests: [accepted_values: {values: [1]}]}]}\n"
    }
    team.write(
        {
            "models/good.sql": "select 1 as a",
            "models/bad.sql": "{{ config(materialized='table') }} select 1 / 0 as b",
            **old,
        }
    )
    assert team.deploy()
    warned = [record for record in caplog.records if "Deprecat" in record.getMessage()]
    assert [record.levelname for record in warned] == ["WARNING"]
    assert "MissingArgumentsProperty" in warned[0].getMessage()
    caplog.clear()
    for count in (1, 2):
        assert team.run("--vars", json.dumps({"count": count})).status["bad"] == "error"
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [text for _, text in said if "Deprecat" in text] == []
    assert {level for level, text in said if "division by zero" in text} == {"ERROR"}
    assert {level for level, text in said if "good" in text} == {"INFO"}
