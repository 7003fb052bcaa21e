"""Seeds come with the version, snapshots with the first model that reads them; Python models are refused."""

from __future__ import annotations

import pytest

from cht_sync.dbt.operators.take_snapshots import left_out
from cht_sync.errors import SettingsError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BIG = "id,text\n" + "\n".join(f"{number},{'x' * 100}" for number in range(12_000)) + "\n"
FILES = {
    "dbt_project.yml": (
        "name: team\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\nseeds: {team: {places: {+schema: names}}}\n"
    ),
    "seeds/places.csv": "id,name\n1,Kibera\n2,Mathare\n",
    "seeds/big.csv": BIG,
    "models/visits.sql": (
        "{{ config(materialized='incremental', unique_key='id') }} select id, name from {{ ref('places') }}"
    ),
    "snapshots/visits_then.sql": (
        "{% snapshot visits_then %}{{ config(unique_key='id', strategy='check', check_cols=['name']) }}"
        "select id, name from {{ ref('visits') }}{% endsnapshot %}"
    ),
    "models/changes.sql": "{{ config(materialized='table') }} select count(*) as n from {{ ref('visits_then') }}",
    "models/large.sql": "{{ config(materialized='table') }} select min(text) as text from {{ ref('big') }}",
}


def test_seeds_come_with_the_version_and_go_back_with_it(team, database):
    team.write(FILES)
    assert team.deploy()
    # On an empty database the deployment loads seeds, and models wait for their first run.
    assert team.rebuilt == {"places", "big"}
    assert database.rows("select name from v1_names.places order by 1") == [("Kibera",), ("Mathare",)]
    told = team.run()
    assert (told.result.success, told.status) == (True, dict.fromkeys(("visits", "changes", "large"), "success"))
    assert database.rows("select n from v1.changes") == [(2,)]
    database.rows("grant select on v1_names.places to public")

    # Another name: the seed, what reads it, and nothing else; the snapshot keeps its rows.
    database.rows("update v1.visits_then set name = 'Old' where id = 1")
    team.write(
        {"seeds/places.csv": "id,name\n1,Nairobi\n2,Mathare\n", "seeds/big.csv": BIG.replace("x" * 100, "y" * 100)}
    )
    assert team.deploy()
    assert team.rebuilt == {"places", "visits", "changes", "big", "large"}
    assert database.rows("select name from v1.visits order by id") == [("Nairobi",), ("Mathare",)]
    assert database.value("select text from v1.large").startswith("y")
    assert database.rows("select name from v1.visits_then order by id") == [("Old",), ("Mathare",)]
    assert database.value("select has_table_privilege('public', 'v1_names.places', 'select')") is True
    assert team.deploy() is None

    first = team.settings.pipeline_dir / "versions"
    oldest = min(path.name for path in first.iterdir())
    assert team.deploy(roll_back_to=oldest)
    assert database.rows("select name from v1.visits order by id") == [("Kibera",), ("Mathare",)]

    # One that somebody dropped comes again before what reads it.
    database.rows("drop table v1_names.places; drop table v1.visits_then")
    told = team.run()
    assert (told.result.success, told.status["visits"], told.status["changes"]) == (True, "success", "success")
    assert database.rows("select name from v1_names.places order by 1") == [("Kibera",), ("Mathare",)]
    assert database.value("select count(*) from v1.visits_then") == 2


def test_only_what_the_chosen_models_read_is_loaded(team, database, monkeypatch):
    monkeypatch.setenv("DBT_SELECTOR", "visits")
    then = FILES["snapshots/visits_then.sql"]
    team.write(
        {
            **FILES,
            "snapshots/large_then.sql": then.replace("visits", "large").replace("id, name", "'a' as id, text as name"),
        }
    )
    assert team.deploy()
    assert team.rebuilt == {"places"}
    # A snapshot of what is chosen and not there yet is for dbt to fail on.
    assert left_out(team.settings) == ["team.large_then.large_then"]
    assert database.value("select to_regclass('v1.big')") is None


def test_a_seed_that_cannot_be_loaded_leaves_all_as_it_was(team, database):
    team.write({**FILES, "seeds/seeds.yml": "seeds:\n  - {name: places, config: {column_types: {name: integer}}}\n"})
    with pytest.raises(Exception, match="nothing was changed: places: "):
        team.deploy()
    assert database.value("select to_regclass('v1_names.places')") is None


def test_a_python_model_is_refused_by_name(team, monkeypatch):
    team.write({**FILES, "models/learned.py": "def model(dbt, session):\n    return dbt.ref('visits')\n"})
    with pytest.raises(SettingsError, match=r"model learned \(models/learned.py\) .* do not run on PostgreSQL"):
        team.deploy()
    monkeypatch.setenv("DBT_SELECTOR", "visits")
    assert team.deploy()
