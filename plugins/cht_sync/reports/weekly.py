"""The report of a week: how many reports of each form, from how many people, about how many patients."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from airflow.sdk import Connection
from psycopg2 import sql
from psycopg2.extensions import connection as PostgresConnection
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import connect, explained
from cht_sync.reports.files import can_write_parquet, csv_to_parquet, whole, write_csv

log = logging.getLogger(__name__)

COLUMNS = ("week", "form", "reports", "reporters", "patients")
# A count of a few people tells of these people: it is left empty, in the files as in the table.
SMALLEST_CELL = 5
_AT_ONCE = 2000
_QUERY = """
select %(week)s, form,
    case when reports >= %(least)s then reports end,
    case when reporters >= %(least)s then reporters end,
    case when patients >= %(least)s then patients end
from (
    select coalesce(form, '') as form, count(*) as reports, count(distinct contact_uuid) as reporters,
        count(distinct patient_id) as patients
    from {}
    where reported >= %(begin)s and reported < %(end)s
    group by 1
) as counted
order by form
"""
_TABLE = """
create table if not exists {} (
    week varchar not null, form varchar not null, reports bigint, reporters bigint, patients bigint,
    written_at timestamptz not null default now(), primary key (week, form)
)
"""


@dataclass(frozen=True, slots=True)
class Week:
    """An ISO week, in UTC."""

    year: int
    number: int

    @classmethod
    def last(cls, now: datetime) -> Self:
        """The week that was over last."""
        year, number, _ = (now.astimezone(UTC) - timedelta(days=7)).isocalendar()
        return cls(year, number)

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads ``2026-W07``."""
        try:
            monday = datetime.strptime(f"{text.strip()}-1", "%G-W%V-%u")
        except ValueError:
            raise SettingsError(f"week={text!r} is no ISO week: write one such as 2026-W07.", "week") from None
        year, number, _ = monday.isocalendar()
        return cls(year, number)

    @property
    def begin(self) -> datetime:
        """Monday, midnight UTC."""
        return datetime.fromisocalendar(self.year, self.number, 1).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The next Monday, which is no part of it."""
        return self.begin + timedelta(days=7)

    def __str__(self) -> str:
        return f"{self.year:04}-W{self.number:02}"


class WeeklyReport:
    """Writes the report of one week, to files and to a table. Once more gives the same, with what came late.

    :param connection: of a role that reads the models and owns ``schema``.
    :param folder: for the files, ``weekly_report_<week>.csv`` and, where pyarrow is installed, ``.parquet``.
    """

    def __init__(self, connection: Connection, models_schema: str, schema: str, folder: Path) -> None:
        self._connection, self._models_schema, self._schema, self._folder = connection, models_schema, schema, folder

    def is_written(self, week: Week) -> bool:
        """Whether the file of a week is there."""
        return self._file(week).exists()

    def write(self, week: Week) -> int:
        """Writes the report.

        :param week: which; it has to be over to be complete.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"CHT_REPORT_DIR={str(self._folder)!r} cannot be made ({error.strerror}): name a folder that the"
                " workers may write.",
                "CHT_REPORT_DIR",
            ) from None
        counted: list[int] = []
        with (
            closing(connect(self._connection, "cht_sync weekly report")) as conn,
            explained(self._connection, "write the weekly report"),
        ):
            # The file comes last: it is the mark that all is done.
            with conn, conn.cursor() as cursor:
                self._store(cursor, week)
            with conn:
                whole(self._file(week), lambda path: counted.append(write_csv(path, COLUMNS, self._rows(conn, week))))
        if can_write_parquet():
            whole(self._file(week, "parquet"), lambda path: csv_to_parquet(self._file(week), path))
        log.info(
            "Weekly report of %s: %d forms, in %s and %s.weekly_report.", week, counted[0], self._folder, self._schema
        )
        return counted[0]

    def _file(self, week: Week, suffix: str = "csv") -> Path:
        return self._folder / f"weekly_report_{week}.{suffix}"

    def _statement(self) -> sql.Composed:
        return sql.SQL(_QUERY).format(sql.Identifier(self._models_schema, "data_record"))

    def _values(self, week: Week) -> dict[str, Any]:
        return {"week": str(week), "begin": week.begin, "end": week.end, "least": SMALLEST_CELL}

    def _rows(self, conn: PostgresConnection, week: Week) -> Iterator[Any]:
        """A cursor of the server's: memory holds a block of rows at a time."""
        with conn.cursor("cht_weekly_report") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(self._statement(), self._values(week))
            yield from cursor

    def _store(self, cursor: Cursor, week: Week) -> None:
        table = sql.Identifier(self._schema, "weekly_report")
        cursor.execute("select to_regnamespace(quote_ident(%s)) is null", (self._schema,))
        [(is_missing,)] = cursor.fetchall()
        if is_missing:
            cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(self._schema)))
        cursor.execute(sql.SQL(_TABLE).format(table))
        # A form that was corrected away must not stay.
        cursor.execute(sql.SQL("delete from {} where week = %s").format(table), (str(week),))
        insert = sql.SQL("insert into {} ({}) ").format(table, sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
        cursor.execute(insert + self._statement(), self._values(week))
