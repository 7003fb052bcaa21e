"""Creates and upgrades the relations that the sync writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from airflow.sdk import Connection
from psycopg2.errors import DuplicateSchema, DuplicateTable, UniqueViolation
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import quote_ident

from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import Session, connect, explained
from cht_sync.postgres.lock_watch import LockWatch
from cht_sync.postgres.lookups import column_exists, value_of
from cht_sync.postgres.ownership import require_no_rules, require_ours
from cht_sync.postgres.query import Names
from cht_sync.settings.settings import REPOSITORY, RawTable
from cht_sync.store.checkpoints import READ_AGAIN

MIGRATIONS = REPOSITORY / "include" / "sql"
# All that the files make, beside the table of documents: no run has to read them for that.
TABLES = {
    "_dataemon", "couchdb_built_model", "couchdb_collision", "couchdb_copy_hold", "couchdb_dbt_lock",
    "couchdb_deployment", "couchdb_first_load", "couchdb_form_progress", "couchdb_incident", "couchdb_listing",
    "couchdb_lock", "couchdb_migration", "couchdb_model_result", "couchdb_model_run", "couchdb_nul",
    "couchdb_older_revision", "couchdb_postponed_index", "couchdb_progress", "couchdb_quarantine",
    "couchdb_quarantine_part", "couchdb_reconciliation", "couchdb_source", "couchdb_task_error",
    "couchdb_test_acknowledgement", "couchdb_test_result", "couchdb_window", "form", "form_definition", "form_field",
    "form_notice",
}  # fmt: skip
# Names that a model of a team's own may have, each with a column of ours.
_PLAIN_NAMES = {"form": "repeats", "form_field": "declared_type", "form_definition": "digest", "form_notice": "notice"}
TEXT = {"character varying", "text"}
RAW_COLUMNS = {
    "saved_timestamp": {"timestamp without time zone"},
    "_id": TEXT,
    "_deleted": {"boolean"},
    "source": TEXT,
    "doc": {"jsonb"},
}
PROGRESS_COLUMNS = {
    "seq": TEXT,
    "pending": {"integer", "bigint"},
    "updated_at": {"timestamp with time zone"},
    "source": TEXT,
}

# All that a table of CHT Sync 1.x lacks.
_NO_SOURCE = f"source {' or '.join(sorted(TEXT))}"
_ADD_SOURCE = "alter table {schema}.{table} add column source varchar"
_BOOKKEEPING = """
create table {schema}.couchdb_migration (name varchar primary key, applied_at timestamptz not null default now())
"""
_APPLIED = "insert into {schema}.couchdb_migration (name) values (%s) on conflict do nothing"


class Schema:
    """The raw schema: applies ``include/sql`` in order, each file once."""

    def __init__(self, conn: Session, connection: Connection, raw: RawTable) -> None:
        self._conn, self._connection, self._raw = conn, connection, raw
        self._names = Names(raw.schema, raw.table)

    def prepare(self) -> list[str]:
        """Brings the schema up to date, on an empty database as on one of CHT Sync 2.x.

        :raises SettingsError: if a table of that name has other columns, or the role may not create what is
            missing; nothing has been written then.
        """
        doing = f"create the tables of schema {self._raw.schema!r}"
        watch = LockWatch(self._connection, doing)
        with explained(self._connection, doing, lambda: watch.blockers), watch.of_backend(self._conn):
            files = self._pending_files()
            if not files:
                return []
            try:
                return self._upgrade(files)
            except (DuplicateSchema, DuplicateTable, UniqueViolation):
                # Two that start at once both see them missing; the second waits until they are there, and fails.
                return self._upgrade(files)

    def _upgrade(self, files: list[Path]) -> list[str]:
        with self._conn, self._conn.cursor() as cursor:
            self._check(cursor)
            self._create_bookkeeping(cursor)
            self._names.execute(cursor, "lock table {schema}.couchdb_migration in exclusive mode")
            return [file.name for file in files if self._apply(cursor, file)]

    def pending(self) -> list[str]:
        """Names of the files that :meth:`prepare` would apply; writes nothing."""
        with explained(self._connection, f"read the tables of schema {self._raw.schema!r}"):
            files = self._pending_files()
            with self._conn, self._conn.cursor() as cursor:
                self._check(cursor)
        return [file.name for file in files]

    def _pending_files(self) -> list[Path]:
        files = sorted(each for each in MIGRATIONS.glob("*.sql") if re.match(r"\d{4}_", each.name))
        with self._conn, self._conn.cursor() as cursor:
            tables = {self._raw.table, *TABLES}
            require_ours(cursor, self._raw.schema, tables)
            require_no_rules(cursor, self._raw.schema, tables)
            if not self._exists(cursor, "couchdb_migration") or not self._exists(cursor, self._raw.table):
                return files
            applied = {name for (name,) in self._names.execute(cursor, "select name from {schema}.couchdb_migration")}
        return [file for file in files if self._key(file) not in applied]

    def _exists(self, cursor: Cursor, table: str) -> bool:
        text = (
            "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s)"
        )
        return value_of(cursor, text, (self._raw.schema, table))

    def _create_bookkeeping(self, cursor: Cursor) -> None:
        # "if not exists" would ask for the right to create it all the same.
        if not value_of(cursor, "select exists (select from pg_namespace where nspname = %s)", (self._raw.schema,)):
            self._names.execute(cursor, "create schema {schema}")
        if not self._exists(cursor, "couchdb_migration"):
            self._names.execute(cursor, _BOOKKEEPING)

    def _apply(self, cursor: Cursor, file: Path) -> bool:
        if not self._names.execute(cursor, _APPLIED, (self._key(file),)).rowcount:
            return False
        qualified = f"{quote_ident(self._raw.schema, cursor)}.{quote_ident(self._raw.table, cursor)}"
        cursor.execute("select set_config('cht_sync.table', %s, true)", (qualified,))
        self._names.execute(cursor, file.read_text("utf-8"))
        return True

    def _key(self, file: Path) -> str:
        """Each table of documents in a schema has its own history, since files may name the table."""
        return f"{self._raw.table}/{file.stem}"

    def _check(self, cursor: Cursor) -> None:
        """Refuses tables of our names that are not ours."""
        self._check_columns(cursor, self._raw.table, RAW_COLUMNS, "_id")
        self._check_columns(cursor, "couchdb_progress", PROGRESS_COLUMNS, "source")
        for table, column in _PLAIN_NAMES.items():
            if self._exists(cursor, table) and not column_exists(cursor, self._raw.schema, table, column):
                raise SettingsError(
                    f"{self._raw.schema}.{table} is there already and is none of CHT Sync's, which keeps its catalogue"
                    " of forms there: give that table or model another name, or set POSTGRES_SCHEMA to another schema."
                )

    def _check_columns(self, cursor: Cursor, table: str, wanted: dict[str, set[str]], key: str) -> None:
        cursor.execute(
            "select a.attname, format_type(a.atttypid, null), exists ("
            "  select from pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid"
            "  and i.indpred is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum)"
            " from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped",
            (self._raw.schema, table),
        )
        found = {name: (kind, unique) for name, kind, unique in cursor}
        if not found:
            return
        wrong = [
            f"{name} {' or '.join(sorted(kinds))}"
            for name, kinds in wanted.items()
            if found.get(name, ("", False))[0] not in kinds
        ]
        if not found.get(key, ("", False))[1]:
            wrong.append(f"a unique {key}")
        if wrong:
            raise SettingsError(
                self._way_to_upgrade(cursor, table, set(found), wrong)
                or f"Table {self._raw.schema}.{table} is there already and lacks {', '.join(wrong)}: set"
                " POSTGRES_SCHEMA or POSTGRES_TABLE to another name, or to a table of CHT Sync."
            )

    def _way_to_upgrade(self, cursor: Cursor, table: str, found: set[str], wrong: list[str]) -> str:
        """What to do with a table of an older tool; empty where it is none."""
        name = f"{self._raw.schema}.{table}"
        if table == self._raw.table and wrong == [_NO_SOURCE]:
            add, again = (self._names.compose(each).as_string(cursor) for each in (_ADD_SOURCE, READ_AGAIN))
            return (
                f"Table {name} is one of CHT Sync 1.x, without the column source: stop CHT Sync, run `{add}` as owner,"
                " and start again. A row gets its source when its document is read the next time; for all"
                f" of them to be read again at once, run `{again}` too: nothing is lost by that."
            )
        # Of all versions of medic-couch2pg and cht-couch2pg.
        documents = "doc" in found and found.isdisjoint({"_id", "saved_timestamp"})
        if documents or found <= {"seq", "source"}:
            return (
                f"Table {name} is one of couch2pg, which no other tool can go on from: leave it to the views that read"
                " it, set POSTGRES_SCHEMA to a schema of its own, such as v1, where all documents are copied from"
                " CouchDB into a new table, and drop the old table once every dashboard reads the models."
            )
        return ""


@contextmanager
def prepared(connection: Connection, raw: RawTable, application_name: str, doing: str) -> Iterator[Cursor]:
    """A cursor in a transaction and a connection of its own, of what may be the first to write after an upgrade."""
    with explained(connection, doing), closing(connect(connection, application_name)) as conn:
        Schema(conn, connection, raw).prepare()
        with conn, conn.cursor() as cursor:
            yield cursor
