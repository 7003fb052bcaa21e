"""cht-pipeline, for those who have it: what it makes of one document, nothing else in its tables."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from odd_values import FAILS, Case
from psycopg2.extras import Json
from starter_warehouse import DBT, Warehouse
from truth_tables import SETTINGS_TYPES

from tests.dbt_in_process import dbtRunner

# In the order in which they read each other.
MODELS = (
    "document_metadata", "contact", "contact_type", "person", "place", "patient", "data_record", "user", "feedback",
    "telemetry", "telemetry_devices",
)  # fmt: skip


class Upstream:
    """The models of a cht-pipeline, made once without documents; each case is then tried in a transaction of its own.

    :param warehouse: an empty one.
    :param project: folder of cht-pipeline, without `packages.yml`, whose packages no model uses.
    :param target: for what dbt writes.
    """

    def __init__(self, warehouse: Warehouse, project: Path, target: Path) -> None:
        self._warehouse, self._project, self._target = warehouse, project, target
        for command in (["run", "--select", "dbt_results"], ["run"], ["compile", "--full-refresh"]):
            self._dbt(*command)
        self._sql = {path.stem: path.read_text() for path in target.glob("compiled/*/models/*/*.sql")}

    def _dbt(self, *command: str) -> None:
        result = dbtRunner().invoke(
            ["--quiet", "--log-level-file", "none", *command, "--project-dir", str(self._project), "--profiles-dir", str(DBT),
             "--profile", "cht_sync", "--target-path", str(self._target), "--log-path", str(self._target)]
        )  # fmt: skip
        # Its hook writes dbt_results before that exists, so the very first run fails after the models.
        assert result.success or command[1:] == ("--select", "dbt_results"), result.exception or result.result

    def makes_of(self, case: Case) -> str:
        """What a document becomes, in the words of the page."""
        model, column = case.column.split(".")
        settings = {"_id": "settings", "settings": {"contact_types": [t for t in SETTINGS_TYPES if t["id"] != "odd"]}}
        with self._rolled_back() as cursor:
            for document in (settings, case.document):
                cursor.execute(
                    "insert into v1.couchdb values (now(), %s, false, 'couch.org/medic', %s)",
                    (document["_id"], Json(document)),
                )
            for each in MODELS:
                try:
                    self._fill(cursor, each)
                except psycopg2.Error as error:
                    return f"{FAILS}: {str(error).splitlines()[0].split(' for index ')[0]}"
                if each == model:
                    break
            key = "user_id" if model == "user" else "uuid"
            name = '"user"' if model == "user" else model
            cursor.execute(f"select to_jsonb(m) from v1.{name} as m where {key} = %s", (case.document["_id"],))
            rows = cursor.fetchall()
        if not rows:
            return "no row"
        return "a row" if column == "*" else _shown(rows[0][0][column])

    def _fill(self, cursor: Any, model: str) -> None:
        relation = f'v1."{model}"'
        cursor.execute(f"select * from ({self._sql[model]}) as q limit 0")
        names = ", ".join(f'"{column.name}"' for column in cursor.description)
        cursor.execute(f"insert into {relation} ({names}) {self._sql[model]}")

    @contextmanager
    def _rolled_back(self) -> Iterator[Any]:
        connection = psycopg2.connect(self._warehouse.dsn, options="-c timezone=UTC")
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "null" if value is None else "an empty text"
    text = value if isinstance(value, str) else json.dumps(value)
    if text.endswith("+00:00"):
        text = text[:10]
    return f"`{text}`" if text.strip() else "a blank"


def given() -> Path | None:
    """The folder of cht-pipeline that `TEST_CHT_PIPELINE` names."""
    folder = os.environ.get("TEST_CHT_PIPELINE", "").strip()
    return Path(folder) if folder else None
