"""Dates, anchors and merges in YAML; microbatch; one model reads another that is written in batches of days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.integration.dbt.corpus.project import RAW, Project

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date()  # each batch is a statement: few of them
YAML = f"""
name: dated
version: 1.0.0
config-version: 2
profile: cht_sync
vars: {{since: 2023-01-01}}
models:
  +meta: &meta {{reviewed: 2024-05-01, at: 2024-05-01T10:00:00+03:00}}
  dated:
    batches: &batches
      +begin: {YESTERDAY}
      +batch_size: day
      +lookback: 1
      +meta: {{<<: *meta, until: 2030-12-31}}
    others: {{<<: *batches, +enabled: true}}
"""
MODELS = """
sources:
  - name: raw
    schema: "{{ env_var('POSTGRES_SCHEMA') }}"
    tables:
      - {name: couchdb, config: {event_time: saved_timestamp, meta: {since: 2024-05-01}}}
models:
  - name: visit
    config: {meta: {reviewed: 2024-06-01}}
    columns: [{name: uuid, meta: {since: 2024-05-01}, data_tests: [not_null]}]
"""
VISIT = """
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='saved_timestamp', unique_key='uuid') }}
select _id as uuid, saved_timestamp, _deleted is true or doc ->> 'form' is distinct from 'visit' as gone,
  doc ->> 'form' as form, jsonb_array_length(doc -> 'days') as days
from {{ source('raw', 'couchdb') }}
where _id like 'visit%'
"""
LIVING = "{{ config(materialized='view') }} select * from {{ ref('visit') }} where not gone"
SINCE = """
{{ config(materialized='table', meta={'as_of': '2024-01-01'}) }}
select count(*) as visits, '{{ var('since') }}'::date as since, '{{ config.get('meta').reviewed }}'::date as reviewed
from {{ ref('living') }}
"""
DATES = Project(
    files={
        "dbt_project.yml": YAML,
        "models/batches/visit.sql": VISIT,
        "models/living.sql": LIVING,
        "models/since.sql": SINCE,
        "models/models.yml": MODELS,
        "models/lists.sql": f"select count(*) as documents from {RAW}",
    },
    changes={
        "models/batches/visit.sql": VISIT.replace("as days", "as days, date '{{ var('since') }}' as since"),
        "models/models.yml": MODELS.replace("2024-06-01", "2024-07-02"),
    },
    breaks="v1.visit",
)
