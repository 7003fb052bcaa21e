"""dbt with everything in it that can quote a document: its logs, its results, what it returns and what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.redaction.provoked import CANARIES, NAME, NUMBER

pytestmark = pytest.mark.integration
PROFILES = Path(__file__).parents[3] / "include" / "dbt"
PEOPLE = f"(select '{NAME[:5]}' || ' ' || '{NAME[6:]}' as name, '{NUMBER[:6]}' || '{NUMBER[6:]}' as phone)"
# The text of statements and models holds halves of the values alone, so that only what PostgreSQL quotes is whole.
WHOLE = (NAME, NUMBER, NAME.replace(" ", "_"), NAME.encode().hex())
FILES = {
    "dbt_project.yml": (
        "name: leaky\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"
        'on-run-end:\n  - "{{ leaky.at_the_end() }}"\n'
    ),
    "macros/say.sql": """
{% macro someone() %}{{ return(run_query("select name from """
    + PEOPLE
    + """ p").rows[0][0] if execute else '') }}{% endmacro %}
{% macro say() %}
  {% do log("Now comes " ~ leaky.someone(), info=true) %}
  {% do log(leaky.someone()) %}
  {% do exceptions.warn("Look at " ~ leaky.someone()) if execute %}
  {{ print(leaky.someone()) }}
{% endmacro %}
{% macro at_the_end() %}select name::date from """
    + PEOPLE
    + """ p{% endmacro %}
{% macro fail() %}{% do run_query(leaky.at_the_end()) %}{% endmacro %}
""",
    "models/people.sql": f"{{{{ config(materialized='table') }}}} select * from {PEOPLE} p",
    "models/number.sql": "select name::int from {{ ref('people') }}",
    "models/number_table.sql": "{{ config(materialized='table') }} select name::int from {{ ref('people') }}",
    "models/range_table.sql": "{{ config(materialized='table') }} select phone::int from {{ ref('people') }}",
    "models/day_table.sql": "{{ config(materialized='table') }}\n\nselect to_date(name, 'YYYY') from {{ ref('people') }}",
    "models/twice.sql": (
        "{{ config(materialized='table', post_hook='create unique index on {{ this }} (phone)') }}"
        " select * from {{ ref('people') }} union all select * from {{ ref('people') }}"
    ),
    "models/checked.sql": (
        "{{ config(materialized='table', post_hook='alter table {{ this }} add constraint short check (length(phone) < 3)') }}"
        " select * from {{ ref('people') }}"
    ),
    "models/raised.sql": "{{ config(materialized='table') }} select {{ target.schema }}.complain(name) from {{ ref('people') }}",
    "models/function_table.sql": "{{ config(materialized='table') }} select {{ target.schema }}.as_number(phone || name) from {{ ref('people') }}",
    "models/said.sql": "{% do leaky.say() %} select 1 as a",
    "models/refused.sql": "{% do exceptions.raise_compiler_error('No room for ' ~ leaky.someone()) if execute %} select 1 as a",
    "models/broken.sql": "select '{{ leaky.someone() }}'' as a",
    "models/python_error.sql": "{% set x = {}[leaky.someone()].a.b if execute %} select 1 as a",
    "models/absent.sql": "{{ config(materialized='table') }}\nselect *\nfrom nowhere.absent",
    "models/models.yml": "models:\n  - name: people\n    columns:\n      - {name: name, data_tests: [not_null]}\n",
    "tests/cannot_run.sql": "select * from {{ ref('people') }} where name::int > 0",
    "tests/kept.sql": "{{ config(store_failures=true) }} select * from {{ ref('people') }}",
}
PROGRAM = """
import json, os, sys
import airflow
from cosmos.exceptions import CosmosDbtRunError
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.redaction.in_dbt import redact_dbt
folder, form, level = sys.argv[1:4]
where = ["--project-dir", folder, "--profiles-dir", sys.argv[4], "--profile", "cht_sync"]
options = ["--no-use-colors", "--log-format", form, "--log-format-file", form, "--log-level", level]
seen = []
redact_dbt()
redact_dbt()
dbt = DbtRunner(["dbt", *options, "run", *where], dict(os.environ), folder)
assert dbt.parse() is None
done = dbt.run(lambda event: seen.append(str(event)))
from dbt.cli.main import dbtRunner
tested = dbtRunner(callbacks=[lambda event: seen.append(str(event))]).invoke([*options, "test", *where])
asked = dbtRunner().invoke([*options, "run-operation", "fail", *where])
told = {one.node.name: str(one.message) for result in (done, tested) for one in result.result.results}
told["asked"] = str(asked.success)
told["exceptions"] = str((done.exception, tested.exception))
with open(folder + "/told.json", "w") as file: json.dump(told, file)
with open(folder + "/seen.txt", "w") as file: file.write(chr(10).join(seen))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Runs the project once for each way to log; gives what the models were told to end with, and all that was said."""

    def run(database, form, level):
        folder = tmp_path_factory.mktemp(f"leaky-{form}-{level}")
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        database.rows(
            "create schema v1; create function v1.complain(given text) returns int language plpgsql as"
            " $$ begin raise exception 'no such person: %', given using hint = given; end $$;"
            " create function v1.as_number(given text) returns bigint language plpgsql as"
            " $$ begin return given::bigint; end $$"
        )
        environ = {**os.environ, "PYTHONPATH": str(Path("plugins").absolute()), "DBT_POSTGRES_SCHEMA": "v1"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), form, level, str(PROFILES)],
            env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (folder / "told.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
        return folder, done.stdout + done.stderr, json.loads((folder / "told.json").read_text())

    return run


def leaks(text):
    """Lines that hold a value; a directory of the test's own and statements hold halves alone."""
    return [line for line in text.splitlines() if any(value in line for value in (*WHOLE, "No room for Amina"))]


@pytest.mark.parametrize(("form", "level"), [("text", "debug"), ("json", "info")])
def test_dbt_says_and_writes_no_value(ran, database, form, level):
    folder, printed, told = ran(database, form, level)
    assert leaks(printed) == []
    written = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".sql", ".msgpack"}]
    names = {path.name for path in written}
    assert {"dbt.log", "run_results.json", "told.json", "seen.txt"} <= names
    found = {path.name: leaks(path.read_text(errors="replace")) for path in written}
    # What a project's own SQL was compiled to is no message: values that it asks for while it is compiled are in it.
    found["run_results.json"] = leaks(json.dumps([
        {key: value for key, value in one.items() if key != "compiled_code"}
        for one in json.loads((folder / "target" / "run_results.json").read_text())["results"]
    ], indent=0))  # fmt: skip
    found.pop("manifest.json", None)
    assert {name: lines for name, lines in found.items() if lines} == {}
    for name, text in told.items():
        assert not [canary for canary in CANARIES if canary in text], (name, text)

    # What helps is there.
    assert told["number_table"] == (
        "Database Error in model number_table (models/number_table.sql) 22P02: invalid input syntax for type integer: …"
    )
    assert "22003: value … is out of range for type integer" in told["range_table"]
    assert "invalid value … for …" in told["day_table"]
    assert '23505 (relation "v1.twice' in told["twice"]
    assert "could not create unique index" in told["twice"]
    assert '"short"' in told["checked"]
    assert told["raised"] == "Database Error in model raised (models/raised.sql) P0001: raise exception …"
    assert "22P02 (function v1.as_number(text), line 1): invalid input" in told["function_table"]
    assert told["refused"] == "Compilation Error in model refused (models/refused.sql) …"
    assert "42601" in told["broken"]
    assert 'relation "nowhere.absent" does not exist' in told["absent"]
    assert "line " in told["absent"]
    assert "22P02" in told["cannot_run"]
    assert told["asked"] == "False"
    assert "22007: invalid input syntax for type date: " in printed
    assert "22007" in told["leaky-on-run-end-0"]
    assert told["kept"] == "Got 1 result, configured to fail if != 0"
    assert 'relation "nowhere.absent" does not exist' in printed.replace('\\"', '"')
    assert "people" in printed
