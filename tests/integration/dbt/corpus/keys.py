"""Incremental models of every strategy, order of key and ``on_schema_change``, which drop stale rows themselves."""

from __future__ import annotations

from tests.integration.dbt.corpus.project import RAW, Project

# Key, strategy, what is to be done when columns change.
MODELS = {
    "listed": ("['uuid', 'position']", "delete+insert", "ignore"),
    "turned": ("['position', 'uuid']", "delete+insert", "append_new_columns"),
    "merged": ("['position', 'uuid']", "merge", "sync_all_columns"),
    "whole": ("'uuid'", "delete+insert", "fail"),
    "single": ("['uuid']", "default", "sync_all_columns"),
    "added": ("none", "append", "fail"),
    "plainly": ("none", "default", "ignore"),
}
MODEL = """
{{{{ config(materialized='incremental', unique_key={key}, incremental_strategy='{strategy}', on_schema_change='{change}',
    pre_hook="{{{{ drop_stale() }}}}") }}}}
select raw._id as uuid, day.position, raw.saved_timestamp, day.value ->> 'at' as at
{{{{ days() }}}}
"""
DAYS = f"""
{{% macro days() %}}
from {RAW} as raw
cross join lateral jsonb_array_elements(raw.doc -> 'days') with ordinality as day (value, position)
where raw._deleted is not true and raw.doc ->> 'form' in ('visit')
{{% if is_incremental() %}}
  and raw.saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{{{ this }}}})
{{% endif %}}
{{% endmacro %}}
{{% macro drop_stale() %}}
{{% if is_incremental() %}}
delete from {{{{ this }}}} as stale using {RAW} as raw
where raw._id = stale.uuid and raw.saved_timestamp > stale.saved_timestamp
{{% endif %}}
{{% endmacro %}}
"""
FILES = {
    f"models/{name}.sql": MODEL.format(key=key, strategy=strategy, change=change)
    for name, (key, strategy, change) in MODELS.items()
}
# Of persons, whose rows of before the second version nothing writes anew; those of reports happen to be edited later.
KEPT = f"""
{{{{ config(materialized='incremental', unique_key='uuid', full_refresh=false, pre_hook="{{{{ drop_stale() }}}}") }}}}
select raw._id as uuid, raw.saved_timestamp, '{{{{ edition() }}}}' as edition
from {RAW} as raw where raw._deleted is not true and raw.doc ->> 'type' = 'person'
{{% if is_incremental() %}}
and raw.saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{{{ this }}}})
{{% endif %}}
"""
EDITION = "{% macro edition() %}old{% endmacro %}"


def newer(text):
    """A column more, and another type of one."""
    return text.replace("day.value ->> 'at' as at", "(day.value ->> 'at')::int as at, raw.doc ->> 'form' as form")


KEYS = Project(
    files={
        "dbt_project.yml": "name: keys\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n",
        "macros/days.sql": DAYS,
        "macros/edition.sql": EDITION,
        "models/kept.sql": KEPT,
        **FILES,
    },
    changes={
        "macros/edition.sql": EDITION.replace("old", "new"),
        # A macro that all of them use changes alone what is built anew.
        "macros/days.sql": DAYS.replace("('visit')", "('visit', 'other')"),
        **{name: newer(text) for name, text in FILES.items() if "whole" not in name},
        "models/plainly.sql": None,
    },
    breaks="v1.merged",
    findings={
        "v1.plainly": "v1.plainly is of no model any more: nothing updates it",
        # The project forbids what would give its rows what the macro says now.
        "v1.kept": "model.keys.kept says full_refresh: false and stays as it is: its rows keep what they hold",
    },
)
