"""Compares the tables of forms with what they must hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.forms.definition import Path
from tests.oracle.forms import TOO_LONG, TYPES, FormOracle, Row

STANDARD = ("reported", "reported_by", "reported_by_parent", "patient_id", "place_id")
# In a narrower table no row is too long.
WIDE = 200
MOST_SHOWN = 12


@dataclass
class Difference:
    """What was compared and what differed."""

    rows: int = 0
    cells: int = 0
    filled: int = 0
    rejects: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Difference) -> None:
        self.rows += other.rows
        self.cells += other.cells
        self.filled += other.filled
        self.rejects += other.rejects
        self.faults += other.faults

    def __str__(self) -> str:
        shown = "\n".join(self.faults[:MOST_SHOWN])
        return (
            f"{self.rows} rows, {self.cells} cells of which {self.filled} say something, {self.rejects} rejects,"
            f" {len(self.faults)} differences\n{shown}"
        )


def compare_form(
    cursor: Cursor, oracle: FormOracle, names: Mapping[Path, str], documents: Iterable[str], schema: str
) -> Difference:
    """Compares the tables of one form.

    :param names: of tables by path of the repeat and ``*table``, and of columns by path, as the package gave them.
    :param documents: the living ones, as JSON.
    """
    found = Difference()
    for repeat, rows in oracle.rows(documents).items():
        if (*repeat, "*table") in names:
            found.add(_compare_table(cursor, oracle, names, repeat, rows, schema))
        else:
            lost = [row.rejects for row in rows if row.rejects]
            found.faults += [f"{repeat}: no table, and so nothing of {one}" for one in lost]
    return found


def _compare_table(
    cursor: Cursor, oracle: FormOracle, names: Mapping[Path, str], repeat: Path, rows: list[Row], schema: str
) -> Difference:
    found, table = Difference(), names[(*repeat, "*table")]
    columns = oracle.tables[repeat]
    actual, types = _read(cursor, table, [names[path] for path in columns], schema)
    for path in columns:
        kind = oracle.kinds[path] if path in oracle.kinds else oracle.kinds[path[:-1]]
        if types[names[path]] != TYPES[kind]:
            found.faults.append(f"{table}.{names[path]} is {types[names[path]]}, not {TYPES[kind]}")
    wanted = {row.key: row for row in rows}
    for key in wanted.keys() ^ actual.keys():
        found.faults.append(f"{table} {key}: {'missing' if key in wanted else 'should not be there'}")
    for key in wanted.keys() & actual.keys():
        version, cells, rejects = actual[key]
        found.rows += 1
        found.cells += len(cells)
        found.filled += sum(one is not None for one in cells)
        found.rejects += len(rejects)
        faults = [] if repeat or wanted[key].version == version else [f"form_version {version!r}"]
        faults += _differing_cells(wanted[key], dict(zip(columns, cells, strict=True)), rejects)
        faults += _differing_rejects(wanted[key], rejects)
        found.faults += [f"{table} {key}: {fault}" for fault in faults]
    return found


def _differing_cells(row: Row, cells: Mapping[Path, Any], rejects: Mapping[str, list[str]]) -> Iterator[str]:
    for path, cell in cells.items():
        is_left_out = cell is None and len(cells) > WIDE and rejects.get(".".join(path), ["", ""])[1] == TOO_LONG
        if not is_left_out and not _same(row.cells[path], cell):
            yield f"{path}: {cell!r}, not {row.cells[path]!r}"


def _differing_rejects(row: Row, rejects: Mapping[str, list[str]]) -> Iterator[str]:
    wanted: dict[str, list[list[str]]] = {}
    for name, value, reason in row.rejects:
        wanted.setdefault(name, []).append([value, reason])
    given = {name: one for name, one in rejects.items() if one[1] != TOO_LONG}
    for name in wanted.keys() | given.keys():
        if given.get(name) not in wanted.get(name, []):
            yield f"reject {name!r}: {given.get(name)}, not {wanted.get(name)}"


def compare_rejects(cursor: Cursor, tables: Iterable[str], schema: str) -> list[str]:
    """Compares ``document_rejects`` with what the tables have in ``rejected``."""
    faults, wanted = [], {}
    for table in tables:
        cursor.execute(
            sql.SQL("select uuid, rejected::text from {} where rejected is not null").format(_named(schema, table))
        )
        for uuid, rejected in cursor.fetchall():
            for name, one in json.loads(rejected).items():
                # An entry of its index has room for so many bytes.
                if len(uuid.encode()) + len(name.encode()) <= 2500:
                    wanted[uuid, f"{table}: {name}"] = tuple(one)
    cursor.execute(
        sql.SQL("select uuid, field, value, reason from {} where split_part(field, ': ', 1) = any(%s)").format(
            _named(schema, "document_rejects")
        ),
        (list(tables),),
    )
    listed = {(uuid, name): (value, reason) for uuid, name, value, reason in cursor.fetchall()}
    for key in wanted.keys() | listed.keys():
        if wanted.get(key) != listed.get(key):
            faults.append(f"document_rejects {key}: {listed.get(key)}, not {wanted.get(key)}")
    return faults


def compare_standard(cursor: Cursor, table: str, schema: str) -> list[str]:
    """Compares the columns that a report's row has from ``data_record``."""
    differ = sql.SQL("({}) is distinct from ({})").format(
        sql.SQL("own.{}").format(sql.SQL(", own.").join(map(sql.Identifier, ("saved_timestamp", *STANDARD)))),
        sql.SQL("r.saved_timestamp, r.reported, r.contact_uuid, r.parent_uuid, r.patient_id, r.place_id"),
    )
    cursor.execute(
        sql.SQL("select own.uuid from {} as own join {} as r using (uuid) where {}").format(
            _named(schema, table), _named(schema, "data_record"), differ
        )
    )
    return [f"{table} {uuid}: not as in data_record" for (uuid,) in cursor.fetchall()]


def _read(
    cursor: Cursor, table: str, columns: list[str], schema: str
) -> tuple[dict[tuple[Any, ...], tuple[str | None, list[Any], dict[str, list[str]]]], dict[str, str]]:
    relation = _named(schema, table)
    cursor.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (relation.as_string(cursor),),
    )
    types = dict(cursor.fetchall())
    keys = [
        "uuid",
        *(name for name in types if name.startswith(("parent_position", "position")) and name not in columns),
    ]
    keys.sort(key=lambda name: (name == "position", name != "uuid", name))
    version = (
        sql.Identifier("form_version") if "form_version" in types and "form_version" not in columns else sql.SQL("null")
    )
    shown = [
        *map(sql.Identifier, keys),
        version,
        sql.SQL("rejected::text"),
        *(_shown(name, types[name]) for name in columns),
    ]
    cursor.execute(sql.SQL("select {} from {}").format(sql.SQL(", ").join(shown), relation))
    end = len(keys)
    rows = {
        tuple(row[:end]): (row[end], list(row[end + 2 :]), json.loads(row[end + 1] or "{}"))
        for row in cursor.fetchall()
    }
    return rows, types


def _shown(name: str, kind: str) -> sql.Composable:
    cell = sql.Identifier(name)
    if kind.startswith("time"):
        return sql.SQL("(extract(epoch from {}) * 1000000)::bigint").format(cell)
    return cell


def _same(wanted: Any, found: Any) -> bool:
    return type(wanted) is type(found) and bool(wanted == found)


def _named(schema: str, table: str) -> sql.Identifier:
    return sql.Identifier(schema, table)
