from __future__ import annotations

import itertools
import json
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg2
import pytest
from psycopg2 import sql

from cht_sync.couchdb.decode import decode_page
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from include.demo.postgres import PostgresServer
from tests.servers import mine

_numbers = itertools.count(1)


@dataclass
class Database:
    """A fresh, empty database and what ``POSTGRES_*`` say of it."""

    dsn: str
    name: str

    def rows(self, query, *values):
        with psycopg2.connect(self.dsn) as conn, conn.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query, *values):
        return self.rows(query, *values)[0][0]

    def name_it(self, server, monkeypatch):
        for variable, value in {
            "POSTGRES_HOST": server.host,
            "POSTGRES_PORT": str(server.port),
            "POSTGRES_USER": server.user,
            "POSTGRES_PASSWORD": server.password,
            "POSTGRES_DB": self.name,
        }.items():
            monkeypatch.setenv(variable, value)

    def tables(self):
        return {
            f"{schema}.{table}"
            for schema, table in self.rows(
                "select schemaname, tablename from pg_tables"
                " where schemaname not in ('pg_catalog', 'information_schema') and schemaname !~ '^pg_temp'"
            )
        }


@pytest.fixture
def database(postgres_server, monkeypatch):
    name = mine(f"cht_{next(_numbers)}")
    postgres_server.create_database(name)
    database = Database(postgres_server.dsn(name), name)
    database.name_it(postgres_server, monkeypatch)
    yield database
    if isinstance(postgres_server, PostgresServer):
        drop(postgres_server, name)


def drop(server, name):
    """Takes a database away, so that those of all tests do not fill the memory; what refuses goes with the server."""
    with closing(psycopg2.connect(server.dsn())) as conn, conn.cursor() as cursor, suppress(psycopg2.Error):
        conn.autocommit = True
        cursor.execute("set statement_timeout = '20s'")
        cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def store(database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        yield store


def page_of(*documents, last_seq="1-a", pending=0):
    """A page as CouchDB sends it; a document with ``_deleted`` is a tombstone."""
    rows = [
        {
            "id": document["_id"],
            "changes": [{"rev": document.get("_rev", "1-x")}],
            **({"deleted": True} if document.get("_deleted") else {}),
            "doc": document,
        }
        for document in documents
    ]
    return decode_page(json.dumps({"results": rows, "last_seq": last_seq, "pending": pending}).encode())
