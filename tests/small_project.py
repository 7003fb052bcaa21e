"""A dbt project with the flaws of real ones: a hook that needs a table, tests that fail, a test that cannot run."""

from __future__ import annotations

from pathlib import Path

SECRET_NAME = "Amina-7f3a"  # of a person: whatever shows it leaks a document

FILES = {
    "dbt_project.yml": (
        "name: small\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"
        'on-run-end:\n  - "{{ small.note_run(results) }}"\n'
    ),
    # As in cht-pipeline: it fails where the table is not there yet.
    "macros/note_run.sql": """
{% macro note_run(results) %}
  -- depends_on: {{ ref('run_log') }}
  {% if execute %}
    {% for one in results %}
      {% do run_query("insert into " ~ ref('run_log') ~ " values ('" ~ one.node.unique_id ~ "')") %}
    {% endfor %}
  {% endif %}
  {{ return('') }}
{% endmacro %}
""",
    "models/run_log.sql": "{{ config(materialized='incremental') }} select null::text as node where false",
    "models/person.sql": (
        "{{ config(materialized='table', tags=['base']) }} select _id as uuid, doc->>'name' as name"
        " from {{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }} where doc->>'type' = 'person'"
    ),
    "models/late.sql": "{{ config(materialized='table', tags=['late']) }} select * from {{ ref('person') }}",
    "models/models.yml": """
models:
  - name: person
    description: One row per person.
    columns:
      - name: uuid
        data_tests: [not_null, unique]
  - name: late
    columns:
      - name: name
        data_tests:
          - accepted_values:
              arguments: {values: [nobody]}
unit_tests:
  - name: never_right
    model: late
    given:
      - input: ref('person')
        rows: [{uuid: a, name: b}]
    expect:
      rows: [{uuid: a, name: c}]
""",
    # Postgres quotes the name when it refuses to take it for a number.
    "tests/name_is_a_number.sql": "select * from {{ ref('person') }} where name::int > 0",
}


def write_small_project(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write it.

    :param folder: where to.
    :param files: more files, or other contents, by path.
    """
    for name, text in {**FILES, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
