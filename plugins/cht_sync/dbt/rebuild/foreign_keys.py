"""Foreign keys across a swap: those between old and new relations, and those of tables that are not rebuilt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.errors import unfit
from cht_sync.dbt.rebuild.manifest import ForeignKey
from cht_sync.dbt.rebuild.relation import Relation, columns
from cht_sync.errors import SettingsError
from cht_sync.redaction import message_of

_KEYS = """
select c.oid, c.conname::text, c.conrelid, c.confrelid, n.nspname::text, t.relname::text,
    pg_get_constraintdef(c.oid), c.confrelid::regclass::text, c.confdeltype::text,
    array(select attname::text from unnest(c.conkey) with ordinality as k (num, place)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.num order by k.place),
    array(select attname::text from unnest(c.confkey) with ordinality as k (num, place)
        join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.num order by k.place),
    pg_get_userbyid(t.relowner)::text, pg_has_role(t.relowner, 'usage'), obj_description(c.oid, 'pg_constraint')
from pg_constraint c
join pg_class t on t.oid = c.conrelid
join pg_namespace n on n.oid = t.relnamespace
where c.contype = 'f' and c.conparentid = 0 and (c.conrelid = any(%(oids)s) or c.confrelid = any(%(oids)s))
order by c.oid
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key as Postgres has it."""

    oid: int
    name: str
    child: int
    parent: int
    child_schema: str
    child_name: str
    definition: str
    parent_text: str
    on_delete: str
    columns: list[str]
    parent_columns: list[str]
    owner: str
    owned: bool
    comment: str | None

    @property
    def table(self) -> Relation:
        """The table it is on."""
        return Relation(self.child, self.child_schema, self.child_name, "r")

    @property
    def text(self) -> str:
        """For messages."""
        return f"{self.table.text} ({', '.join(self.columns)})"

    def pointed_to(self, parent: sql.Composable) -> sql.Composed:
        """Its definition, with another table to point to."""
        before, _, after = self.definition.partition(" REFERENCES ")
        rest = after.removeprefix(self.parent_text)
        return sql.SQL(before) + sql.SQL(" references {}").format(parent) + sql.SQL(rest)


def keys_of(cursor: Cursor, oids: Collection[int]) -> list[Key]:
    """The foreign keys on or to relations; ``search_path`` has to be empty."""
    cursor.execute(_KEYS, {"oids": list(oids)})
    return [Key(*row) for row in cursor.fetchall()]


def require_owned_key(key: Key) -> None:
    """Refuses a foreign key, to a rebuilt relation, of a table whose role this role is no member of."""
    if not key.owned:
        raise SettingsError(
            f"{key.text} has a foreign key to {key.parent_text}, which is rebuilt, and belongs to role"
            f" {key.owner!r}: give it over by `alter table ... owner to`, or drop the foreign key."
        )


class ForeignKeySwap:
    """Gives new relations the foreign keys that the old ones had, and points those of other tables to them.

    What takes long is done before any lock that a reader would notice.

    :param cursor: in the transaction of the swap.
    :param pairs: old relation, where there was one, and new relation.
    :param places: schema and name that each new relation is to have.
    """

    def __init__(
        self, cursor: Cursor, pairs: Collection[tuple[Relation | None, Relation]], places: Collection[tuple[str, str]]
    ) -> None:
        self._cursor = cursor
        self._successor: Mapping[int, Relation] = {old.oid: new for old, new in pairs if old}
        self._new = {new.oid: new for _, new in pairs}
        self._places = places
        #: Foreign keys of other tables to an old relation, each with the name of the one to the new relation.
        self.incoming: list[tuple[Key, str]] = []

    def repoint(self) -> None:
        """Points foreign keys that hooks made from a new relation to an old one to the new one instead."""
        for key in keys_of(self._cursor, self._new):
            if key.child in self._new and key.parent in self._successor:
                self._cursor.execute(key.table.alter("drop constraint {}", sql.Identifier(key.name)))
                self._add(key, key.name, self._new[key.child], self._successor[key.parent])

    def declare(self, child: Relation, keys: Collection[ForeignKey]) -> None:
        """Adds foreign keys of a contract to tables that are not rebuilt, which dbt was kept from making."""
        for key in keys:
            if not key.schema or (key.schema, key.table) in self._places:
                continue
            table = sql.Identifier(key.schema, key.table)
            if key.cascades and key.target_columns:
                self._drop_orphans(child, key.columns, table, key.target_columns)
            target = sql.SQL(key.expression) if key.expression else table + _listed(key.target_columns)
            with _fitting(f"from {child.name} ({', '.join(key.columns)}) to {key.schema}.{key.table}"):
                self._cursor.execute(child.alter("add foreign key {} references {}", _listed(key.columns), target))

    def carry_over(self, given_up: Collection[str]) -> list[str]:
        """Adds foreign keys of old relations that their successors lack, unless the project gave them up.

        :param given_up: as :class:`RebuildPlan` has it.
        :return: those that no longer fit, each with why.
        """
        lost = []
        there = {self._identity(key) for key in keys_of(self._cursor, self._new) if key.child in self._new}
        for key in keys_of(self._cursor, self._successor):
            child = self._successor.get(key.child)
            if child is None or key.text in given_up or self._identity(key) in there:
                continue
            if child.kind not in "rp" or not set(key.columns) <= columns(self._cursor, child.oid):
                lost.append(f"{key.text}, a foreign key to {key.parent_text}: there is no such column any more")
                continue
            self._add(key, key.name, child, self._successor.get(key.parent))
        return lost

    def add_incoming(self) -> None:
        """Adds, to each foreign key of another table to an old relation, one to the new relation.

        :raises SettingsError: if a table belongs to another role, or its key cannot point to the new relation.
        """
        for key in keys_of(self._cursor, self._successor):
            if key.child in self._successor or key.child in self._new:
                continue
            require_owned_key(key)
            name = f"cht_sync_rebuild_{key.oid}"
            self._add(key, name, key.table, self._successor[key.parent])
            self.incoming.append((key, name))

    def drop_incoming(self) -> None:
        """Drops the foreign keys of other tables to the old relations."""
        for key, _ in self.incoming:
            self._cursor.execute(key.table.alter("drop constraint {}", sql.Identifier(key.name)))

    def rename_incoming(self) -> None:
        """Gives those to the new relations the names of these, once the old relations are gone."""
        for key, name in self.incoming:
            names = map(sql.Identifier, (name, key.name))
            self._cursor.execute(key.table.alter("rename constraint {} to {}", *names))

    def _identity(self, key: Key) -> tuple[Any, ...]:
        child, parent = self._successor.get(key.child), self._successor.get(key.parent)
        return (
            child.oid if child else key.child,
            tuple(key.columns),
            parent.oid if parent else key.parent,
            tuple(key.parent_columns),
            key.on_delete,
        )

    def _add(self, key: Key, name: str, child: Relation, parent: Relation | None) -> None:
        target: sql.Composable = parent.identifier if parent else sql.SQL(key.parent_text)
        if key.on_delete == "c":
            self._drop_orphans(child, key.columns, target, key.parent_columns)
        with _fitting(f"{key.name} of {key.text} to {key.parent_text}"):
            self._cursor.execute(child.alter("add constraint {} {}", sql.Identifier(name), key.pointed_to(target)))
        if key.comment:
            statement = sql.SQL("comment on constraint {} on {} is {}")
            text = sql.Literal(key.comment)
            self._cursor.execute(statement.format(sql.Identifier(name), child.identifier, text))

    def _drop_orphans(self, child: Relation, here: Sequence[str], target: sql.Composable, there: Sequence[str]) -> None:
        """What the cascade would have done while the parent lost these rows."""
        same = [
            sql.SQL("parent.{} = child.{}").format(sql.Identifier(far), sql.Identifier(near))
            for near, far in zip(here, there, strict=True)
        ]
        known = [sql.SQL("child.{} is not null").format(sql.Identifier(column)) for column in here]
        statement = sql.SQL("delete from {} as child where {} and not exists (select from {} as parent where {})")
        both = sql.SQL(" and ")
        with _fitting(f"from {child.text} ({', '.join(here)})"):
            self._cursor.execute(statement.format(child.identifier, both.join(known), target, both.join(same)))


@contextmanager
def _fitting(which: str) -> Iterator[None]:
    try:
        yield
    except (
        psycopg2.errors.ForeignKeyViolation,
        psycopg2.errors.InvalidForeignKey,
        psycopg2.errors.UndefinedColumn,
        psycopg2.errors.UndefinedTable,
        psycopg2.errors.DatatypeMismatch,
    ) as error:
        raise unfit(f"The foreign key {which}", message_of(error), "fix or drop it") from None


def _listed(names: Iterable[str]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Identifier, names)))
