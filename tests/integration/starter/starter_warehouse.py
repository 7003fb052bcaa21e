"""A database with raw documents, and dbt with the starter models on it."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dbt.contracts.graph.manifest import Manifest
from psycopg2 import sql
from psycopg2.extras import Json

from tests.dbt_in_process import dbtRunner
from tests.servers import mine

DBT = Path(__file__).parents[3] / "include" / "dbt"
DATABASE = mine("dbt_models")
EPOCH = datetime(2024, 1, 1)


class Warehouse:
    """A database with raw documents, and the dbt project that models them."""

    manifest: bytes | None = None

    def __init__(self, dsn: str, project: Path, environment: dict[str, str]) -> None:
        self.dsn = dsn
        self.project = project
        self.table = environment.get("POSTGRES_TABLE") or "couchdb"
        self.raw_schema = environment.get("POSTGRES_SCHEMA") or "v1"
        self.schema = environment.get("DBT_POSTGRES_SCHEMA") or self.raw_schema
        self.clock = 0
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True

    def create(self) -> None:
        """Drop every schema of an earlier test and create an empty raw table, as the sync has it."""
        for (name,) in self.rows(
            "select nspname from pg_namespace where nspname !~ '^pg_' "
            "and nspname not in ('information_schema', 'public')"
        ):
            self.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
        self.execute(sql.SQL("create schema {}").format(sql.Identifier(self.raw_schema)))
        raw = sql.Identifier(self.raw_schema, self.table)
        self.execute(
            sql.SQL(
                "create table {} (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, "
                "source varchar, doc jsonb)"
            ).format(raw)
        )
        for column in ("_deleted", "saved_timestamp", "source"):
            name = sql.Identifier(column)
            self.execute(sql.SQL("create index {} on {} ({})").format(name, raw, name))
        self.execute(
            sql.SQL("set search_path to {}, {}").format(sql.Identifier(self.schema), sql.Identifier(self.raw_schema))
        )

    def execute(self, statement: str | sql.Composable, *values: Any) -> None:
        """Run one statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def rows(self, query: str | sql.Composable, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall()

    def column(self, query: str, *values: Any) -> set[Any]:
        """Return the values of the first column of a query."""
        return {row[0] for row in self.rows(query, *values)}

    def value(self, query: str, *values: Any) -> Any:
        """Return the only value of a query."""
        ((value,),) = self.rows(query, *values)
        return value

    def ids(self, model: str) -> set[str]:
        """Return the uuids a model holds."""
        return self.column(f'select uuid from "{model}"')

    def stamp(self) -> datetime:
        """Return the next `saved_timestamp`."""
        self.clock += 1
        return EPOCH + timedelta(seconds=self.clock)

    def save(self, *documents: dict[str, Any], at: datetime | None = None, source: str = "couch.org/medic") -> datetime:
        """Save documents as the sync does, all with one stamp; one with `_deleted` is a tombstone."""
        at = at or self.stamp()
        statement = sql.SQL(
            "insert into {} as raw (saved_timestamp, _id, _deleted, source, doc) values (%s, %s, %s, %s, %s) "
            "on conflict (_id) do update set saved_timestamp = excluded.saved_timestamp, "
            "_deleted = excluded._deleted, doc = excluded.doc"
        ).format(sql.Identifier(self.raw_schema, self.table))
        for document in documents:
            deleted = bool(document.get("_deleted"))
            self.execute(statement, at, document["_id"], deleted, source, Json(document))
        return at

    def delete(self, *uuids: str, at: datetime | None = None) -> None:
        """Save tombstones."""
        self.save(*({"_id": uuid, "_rev": "2-x", "_deleted": True} for uuid in uuids), at=at)

    def dbt(
        self,
        *arguments: str,
        variables: dict[str, Any] | None = None,
        parse: bool = False,
        callbacks: list[Callable[[Any], Any]] | None = None,
    ) -> Any:
        """Run dbt in this process and return its result; the project is parsed once unless asked for."""
        if not parse and self.manifest is None:
            self.manifest = self.dbt("parse", parse=True).result.to_msgpack()
        # A run changes its manifest, so each gets a fresh one.
        manifest = None if parse else Manifest.from_msgpack(self.manifest)
        runner = dbtRunner(manifest=manifest, callbacks=callbacks)
        command, *rest = arguments
        return runner.invoke(
            [
                "--quiet", "--no-use-colors", "--log-level", "none", "--log-level-file", "none", *([] if parse else ["--no-write-json"]),
                command, *rest, "--project-dir", str(self.project), "--profiles-dir", str(DBT),
                "--vars", json.dumps(variables or {}),
            ]
        )  # fmt: skip

    def run(self, *arguments: str, **variables: Any) -> dict[str, Any]:
        """`dbt run`, which has to succeed; returns the number of rows each model wrote."""
        result = self.dbt("run", *arguments, variables=variables)
        assert result.success, failures(result)
        return {r.node.name: r.adapter_response.get("rows_affected") for r in result.result.results}

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def failures(result: Any) -> str:
    """What went wrong in a dbt run, for the message of an assertion."""
    if result.exception or not result.result:
        return repr(result.exception)
    return "\n".join(f"{r.node.name}: {r.message}" for r in result.result.results if r.message)


def make_project(folder: Path, *packages: Path) -> Path:
    """Copy the wrapper and give it packages, as a deployment does."""
    shutil.copytree(DBT / "wrapper", folder)
    entries = "".join(f"  - local: {package}\n" for package in packages)
    (folder / "packages.yml").write_text(f"packages:\n{entries}")
    result = dbtRunner().invoke(
        ["--quiet", "--log-level-file", "none", "deps", "--project-dir", str(folder), "--profiles-dir", str(DBT)]
    )
    assert result.success, result.exception
    return folder


def set_environment(patch: pytest.MonkeyPatch, server: Any, **more: str) -> dict[str, str]:
    """Set the variables of a deployment; the others of the contract are not set."""
    for name in ("DB", "SCHEMA", "TABLE", "HOST", "PORT", "USER", "PASSWORD"):
        patch.delenv(f"POSTGRES_{name}", raising=False)
        patch.delenv(f"DBT_POSTGRES_{name}", raising=False)
    environment = {
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USER": server.user,
        "POSTGRES_PASSWORD": server.password,
        "POSTGRES_DB": DATABASE,
        "DBT_THREAD_COUNT": "2",
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        **more,
    }
    for name, value in environment.items():
        patch.setenv(name, value)
    return environment
