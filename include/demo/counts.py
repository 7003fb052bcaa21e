"""What CouchDB holds against what Postgres holds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import errors, sql

from include.demo.census import Census


@dataclass(frozen=True)
class Line:
    """One thing that was counted on both sides; ``expected`` is None where CouchDB does not say."""

    name: str
    expected: int | None
    found: int | None

    @property
    def agrees(self) -> bool:
        """Whether both counts are the same, or there is only one."""
        return self.found is not None and self.expected in {None, self.found}


class Destination:
    """The database that the sync writes to, seen by a reader of its own.

    :param settings: ``POSTGRES_*`` and ``DBT_POSTGRES_SCHEMA``, complete.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self._where: dict[str, Any] = {
            "host": settings["POSTGRES_HOST"],
            "port": settings.get("POSTGRES_PORT", "5432"),
            "user": settings.get("POSTGRES_USER", "postgres"),
            "password": settings.get("POSTGRES_PASSWORD", "postgres"),
            "dbname": settings.get("POSTGRES_DB", "cht_sync"),
        }
        schema = settings.get("POSTGRES_SCHEMA", "v1")
        self._raw = sql.Identifier(schema, settings.get("POSTGRES_TABLE", "couchdb"))
        self._models_schema = settings.get("DBT_POSTGRES_SCHEMA", schema)

    def connect(self) -> Any:
        """A new psycopg2 connection, for the caller to close."""
        return psycopg2.connect(**self._where)

    def sources(self) -> dict[str, tuple[int, int]]:
        """Documents and tombstones by source; nothing before the first run."""
        query = sql.SQL(
            "select source, count(*) filter (where not _deleted), count(*) filter (where _deleted) from {} group by 1"
        )
        try:
            with closing(self.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(query.format(self._raw))
                return {source: (documents, tombstones) for source, documents, tombstones in cursor}
        except errors.UndefinedTable:
            return {}

    def rows(self, models: list[str]) -> dict[str, int | None]:
        """Rows by model; None for one that does not exist.

        :param models: names of tables or views in the schema of the models.
        """
        found: dict[str, int | None] = {}
        with closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for model in models:
                    try:
                        relation = sql.Identifier(self._models_schema, model)
                        cursor.execute(sql.SQL("select count(*) from {}").format(relation))
                        found[model] = (cursor.fetchone() or (None,))[0]
                    except errors.UndefinedTable:
                        found[model] = None
        return found


def source_lines(census: Census, sources: dict[str, tuple[int, int]]) -> list[Line]:
    """Documents and tombstones of each database on both sides.

    :param census: of CouchDB.
    :param sources: of Postgres.
    """
    lines = []
    for database, documents in census.documents.items():
        stored = next((counts for source, counts in sources.items() if source.endswith(f"/{database}")), (0, 0))
        lines.append(Line(database, documents, stored[0]))
        lines.append(Line(f"{database}, deleted", census.tombstones[database], stored[1]))
    return lines


def model_lines(census: Census, rows: dict[str, int | None]) -> list[Line]:
    """Rows of each model on both sides.

    :param census: of CouchDB.
    :param rows: of Postgres.
    """
    return [Line(model, census.models.get(model), found) for model, found in rows.items()]
