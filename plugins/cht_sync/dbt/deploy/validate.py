"""Proves of a built version that its models can be compiled against the target, before anything switches to it."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection as PostgresConnection

from cht_sync.dbt.launch.dbt_command import SHOWN, DbtProgram
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.version import Deployment
from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import connect
from cht_sync.redaction import line_of, message_of, of_error, without_secrets
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
GOOD = {"success", "pass"}
NO_RELATION = re.compile(r'relation "([^"]+(?:"\."[^"]+)*)" does not exist')
# What unit tests say: they take the columns of a model from its table.
NO_TABLE_FOR_TEST = re.compile(r"from relation (\S+) because the relation doesn.t exist")
# dbt puts what these compile to into parentheses; another materialization may do anything with it.
SELECTS = {"table", "view", "incremental", "materialized_view"}


def validate(source: Source, deployment: Deployment, settings: Settings, unit_tests: bool = False) -> None:
    """Compiles every model against the target, lets Postgres parse the SQL, and runs the unit tests where asked.

    A model that reads, while it is compiled, a table of this project which is not there yet is left out with a warning:
    on an empty database that cannot be told from here.
    Source: https://docs.getdbt.com/reference/commands/compile,
    https://docs.getdbt.com/docs/build/unit-tests#before-you-begin

    :raises SettingsError: with dbt's or Postgres's own words, if a model or test fails.
    """
    connection = dbt_connection(settings)
    # dbt would tell a server that is away as an error of the project.
    with closing(connect(connection, "cht_sync validates models")) as conn:
        results = DbtProgram(source, deployment.path, settings, connected=True).check(unit_tests)
        nodes = json.loads(deployment.manifest.read_text())["nodes"].values()
        ours = {node["alias"] for node in nodes if node["resource_type"] in {"model", "seed", "snapshot"}}
        failures = [*_failures(results, ours), *_not_sql(conn, results)]
    if failures:
        shown = without_secrets(" ".join(" ".join(failures).split()), source.secrets)[:SHOWN]
        raise SettingsError(
            f"{deployment.source} is not deployed, the version in use stays; {len(failures)} of its models or tests"
            f" fail: {shown}"
        )
    counts = Counter(one["kind"] for one in results)
    tested = f"; {counts['unit_test']} unit tests pass" if unit_tests else ""
    log.info("%s models compile against the target%s.", counts["model"], tested)


def _failures(results: list[dict[str, Any]], ours: set[str]) -> Iterator[str]:
    for one in results:
        if one["status"] in GOOD:
            continue
        missing = NO_RELATION.search(one["message"])
        if one["kind"] == "unit_test":
            table = NO_TABLE_FOR_TEST.search(one["message"])
            remedy = (
                f" {table[1]} does not exist yet: deploy without run_unit_tests, let the models run once, then trigger"
                " cht_pipeline_deploy with run_unit_tests."
                if table
                else ""
            )
            yield f"unit test {one['name']} ({one['path']}) says {one['message']!r}.{remedy}"
        elif one["status"] == "skipped" or (missing and missing[1].rpartition(".")[2].strip('"') in ours):
            reason = f"{missing[1]} does not exist yet" if missing else "what it stands on could not be compiled"
            log.warning("%s %s is not validated: %s.", one["kind"].replace("_", " ").capitalize(), one["name"], reason)
        else:
            yield f"{one['kind']} {one['name']} ({one['path']}) says {one['message']!r}."


def _not_sql(conn: PostgresConnection, results: list[dict[str, Any]]) -> Iterator[str]:
    """Models whose compiled text is no SQL, which dbt itself finds out only when it runs them."""
    for one in results:
        if one["status"] not in GOOD or one["materialized"] not in SELECTS or not one["sql"].strip():
            continue
        # It is the project's own text, and dbt puts it into parentheses in the same way.
        query = sql.SQL("explain select * from (\n{}\n) as validated").format(sql.SQL(one["sql"]))
        try:
            with conn, conn.cursor() as cursor:
                cursor.execute("set transaction read only")
                cursor.execute(query)
        except errors.SyntaxError as error:
            # The first line is ours.
            line = max((line_of(error, query.as_string(conn)) or 2) - 1, 1)
            yield f"model {one['name']} ({one['path']}): Postgres says {message_of(error)!r} of line {line} of its SQL."
        except psycopg2.Error as error:
            log.debug("Model %s cannot be planned yet: %s", one["name"], of_error(error))
