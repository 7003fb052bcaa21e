"""A package upon the starter as its page prints it, with a model that has several rows for a document."""

from __future__ import annotations

from cht_sync.settings.settings import REPOSITORY
from tests.documented import blocks
from tests.integration.dbt.corpus.project import Project

PAGE = REPOSITORY / "include" / "dbt" / "starter" / "README.md"
PRINTED = {block.file: block.text for block in blocks(PAGE) if block.is_dbt}
DAY = """
{{ config(unique_key=['position', 'uuid'], meta={'follows': ['data_record']}) }}
select day.position::int as position, data_record.uuid, data_record.saved_timestamp, day.value ->> 'at' as at
from {{ ref('data_record') }} as data_record
inner join {{ cht_starter.raw() }} as raw on raw._id = data_record.uuid and raw._deleted is not true
cross join lateral jsonb_array_elements(raw.doc -> 'days') with ordinality as day (value, position)
where data_record.form = 'visit' {{ cht_starter.and_new('data_record') }}
"""
UPON_STARTER = Project(
    files={**PRINTED, "models/day.sql": DAY},
    changes={
        "models/day.sql": DAY.replace("day.value ->> 'at' as at", "(day.value ->> 'at')::int as at, data_record.form"),
        "models/pregnancy.sql": PRINTED["models/pregnancy.sql"].replace("= 'pregnancy'", "in ('pregnancy', 'other')"),
    },
    breaks="v1.day",
    logs=("v1.dbt_progress", "v1.dbt_results"),
)
