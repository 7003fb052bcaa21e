"""Microbatch models: what comes late, days without a run and batches that failed are built, or named."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extras import Json

from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
TODAY = datetime.now(UTC).replace(tzinfo=None)
BATCHES = (
    f"{{{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at', batch_size='day',"
    f" lookback=1, begin='{TODAY - timedelta(days=8):%Y-%m-%d}', unique_key='uuid') }}}}\n"
)
RAW = "{{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}"
FILES = {
    "models/visit.sql": (
        "{{ config(materialized='view', event_time='at') }} select _id as uuid, saved_timestamp,"
        f" (doc ->> 'at')::timestamptz as at, doc ->> 'n' as n from {RAW} where not _deleted"
    ),
    "models/bare.sql": "{{ config(materialized='view', event_time='at') }} select uuid, at from {{ ref('visit') }}",
    "models/daily.sql": BATCHES + "select uuid, at, n::int as n from {{ ref('visit') }}",
    "models/blind.sql": BATCHES + "select uuid, at from {{ ref('bare') }}",
}
SAVE = """
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)
values (clock_timestamp() at time zone 'utc', %s, false, 'h/medic', %s) on conflict (_id) do update
set saved_timestamp = excluded.saved_timestamp, doc = excluded.doc
"""
UNTIL = "update v1.couchdb_built_model set batches = jsonb_set(batches, '{until}', to_jsonb(now() - interval '6 days'))"


@pytest.fixture
def save(database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()

    def save(uuid, days, n="1"):
        at = f"{TODAY - timedelta(days=days):%Y-%m-%dT%H:%M}Z"
        with closing(psycopg2.connect(database.dsn)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(SAVE, (uuid, Json({"_id": uuid, "at": at, "n": n})))

    return save


def test_what_dbt_alone_would_leave_out_is_built_or_named(team, database, save, caplog):
    caplog.set_level(logging.INFO)
    ids = {name: f"select string_agg(uuid, '' order by uuid) from v1.{name}" for name in ("daily", "blind")}
    save("a", 0)
    save("b", 4, n="one")
    team.write(FILES)
    team.deploy()
    told = team.run()
    # A batch that has ended is not the model, and why one failed is told.
    assert (told.status["daily"], told.status["blind"]) == ("partial success", "success")
    said = database.value("select message from v1.couchdb_model_result where name = 'daily'")
    assert said.startswith(f"PARTIAL SUCCESS (8/9), batch {TODAY - timedelta(days=4):%Y-%m-%d}: Database Error")
    assert "blind is built in batches by at of bare, which does not tell by a column saved_timestamp" in caplog.text
    assert "daily is built in batches by" not in caplog.text

    # The batch that failed is built, although it is older than lookback, and no document has come.
    database.rows("update v1.couchdb set doc = doc || '{\"n\": \"2\"}' where _id = 'b'")
    assert team.run().status["daily"] == "success"
    assert [database.value(ids[name]) for name in ids] == ["ab", "ab"]

    # A phone that was offline, and one of a time before the first batch, as for dbt alone.
    save("c", 6)
    save("d", 30)
    caplog.clear()
    assert set(team.run().status.values()) == {"success"}
    assert [database.value(ids[name]) for name in ids] == ["abc", "ab"]
    assert "daily: 1 earlier batches are built for what has come since" in caplog.text

    # No run for six days.
    save("e", 5)
    database.rows(f"{UNTIL} where relation = 'blind'")
    assert set(team.run().status.values()) == {"success"}
    assert [database.value(ids[name]) for name in ids] == ["abce", "abce"]

    # Tables that somebody else has built, of which nothing is known.
    database.rows("delete from v1.couchdb_built_model; delete from v1.daily")
    assert set(team.run().status.values()) == {"success"}
    assert database.value(ids["daily"]) == "abce"

    # What a deployment builds is known too.
    team.write({"models/blind.sql": FILES["models/blind.sql"].replace("uuid, at", "uuid, at, 1 as more")})
    database.rows(f"{UNTIL} where relation = 'blind'")
    team.deploy()
    assert team.rebuilt == {"blind"}
    known = "select (batches ->> 'until')::timestamptz > now() - interval '1 hour' from v1.couchdb_built_model"
    assert database.value(f"{known} where relation = 'blind'") is True
