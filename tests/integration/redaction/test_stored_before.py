"""Messages that an earlier version has stored lose what may be a value, once."""

from __future__ import annotations

import pytest

from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")


def test_messages_of_an_earlier_version_are_cut(database):
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    database.rows("delete from v1.couchdb_migration where name like '%0035%'")
    database.rows(
        "insert into v1.couchdb_quarantine (source, key, _id, body, body_bytes, reason) values"
        """ ('h/d', '\\x01', 'a', '', 0, 'Postgres: invalid input syntax for type json: "Amina'),"""
        """ ('h/d', '\\x02', 'b', '', 0, 'Postgres: ungültige Eingabe für Typ integer: »Amina«'),"""
        " ('h/d', '\\x03', 'c', '', 0, 'CouchDB does not hand the document out: it said ''no''.'),"
        " ('h/d', '\\x04', 'd', '', 0, 'Postgres: string too long to represent as jsonb string')"
    )
    database.rows(
        "insert into v1.couchdb_model_result (models_schema, model, name, status, message, failing_since) values"
        """ ('v1', 'm.a', 'a', 'error', 'Database Error in model a value "254\n700" is out of range', now()),"""
        " ('v1', 'm.b', 'b', 'success', 'INSERT 0 1', null)"
    )
    database.rows(
        "insert into v1.couchdb_task_error (dag_id, task_id, subject, message) values"
        """ ('d', 't', '', 'Postgres could not (22P02: invalid input: "Amina"); nothing of it was stored.'),"""
        " ('d', 'u', '', 'Give COUCHDB_DBS, or connection ''cht_couchdb''.')"
    )
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    assert [reason for (reason,) in database.rows("select reason from v1.couchdb_quarantine order by key")] == [
        "Postgres: invalid input syntax for type json …",
        "Postgres: ungültige Eingabe für Typ integer …",
        "CouchDB does not hand the document out: it said 'no'.",
        "Postgres: string too long to represent as jsonb string",
    ]
    assert [message for (message,) in database.rows("select message from v1.couchdb_model_result order by model")] == [
        "Database Error in model a value …",
        "INSERT 0 1",
    ]
    assert [message for (message,) in database.rows("select message from v1.couchdb_task_error order by task_id")] == [
        "Postgres could not (22P02: invalid input: …); nothing of it was stored.",
        "Give COUCHDB_DBS, or connection 'cht_couchdb'.",
    ]
