"""Constraints that people put on a relation, other than foreign keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from cht_sync.dbt.rebuild.manifest import constraint_text
from cht_sync.dbt.rebuild.relation import Relation, columns, tried
from cht_sync.errors import SettingsError

KINDS = {"c": "check", "u": "unique", "p": "primary_key", "x": "exclusion", "n": "not_null", "f": "foreign_key"}
# Those of tables above and beside come with the inheritance and with the partition.
_CONSTRAINTS = """
select c.conname::text, c.contype::text, pg_get_constraintdef(c.oid),
    array(select attname::text from unnest(c.conkey) as k (num)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.num order by a.attname),
    obj_description(c.oid, 'pg_constraint')
from pg_constraint c
where c.conrelid = %s and c.contype in ('p', 'u', 'x', 'c', 'n', 'f') and c.conparentid = 0 and c.conislocal
order by position(c.contype::text in 'puxcnf'), c.conname
"""
_NOT_NULL = """
select attname::text from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped and attnotnull order by 1
"""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a relation.

    :param name: its name.
    :param kind: ``contype``.
    :param definition: what follows its name.
    :param columns: by name.
    :param comment: None for none.
    """

    name: str
    kind: str
    definition: str
    columns: list[str]
    comment: str | None

    def is_like(self, other: Constraint) -> bool:
        """Whether another relation has the same, or says for itself what this name is to mean.

        :param other: of the other relation.
        """
        if self.kind != other.kind:
            return False
        if self.name == other.name or self.kind == "p":
            return True
        # The text of a foreign key names the other table, which may be built aside as well.
        same_columns = self.kind in "nf" and self.columns == other.columns
        return same_columns or (self.kind in "uxc" and self.definition == other.definition)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Those of a relation.

    :param named: that have a name of their own.
    :param not_null: columns that must have a value.
    """

    named: tuple[Constraint, ...]
    not_null: tuple[str, ...]


def constraints_of(cursor: Any, oid: int) -> Constraints:
    """The constraints of a relation; ``search_path`` has to be empty.

    :param cursor: of any role.
    :param oid: of the relation.
    """
    cursor.execute(_CONSTRAINTS, (oid,))
    named = tuple(Constraint(*row) for row in cursor.fetchall())
    cursor.execute(_NOT_NULL, (oid,))
    return Constraints(named, tuple(row[0] for row in cursor.fetchall()))


def keep_constraints(
    cursor: Any, relation: Relation, wanted: Constraints, place: str, of_project: Collection[str]
) -> list[str]:
    """Gives a relation the constraints that another one had, save those that are the project's to make.

    :param cursor: of the role that owns it.
    :param relation: the relation.
    :param wanted: of the other one.
    :param place: the name that people know the relation by.
    :param of_project: those that the project declares or has given up, as :func:`constraint_text` has them.
    :return: what went with its column.
    :raises SettingsError: if the rows do not fit one.
    """
    own, there, lost = constraints_of(cursor, relation.oid), columns(cursor, relation.oid), []
    alter = sql.SQL("alter table {} ").format(relation.identifier)
    for one in wanted.named:
        if one.kind == "f" or any(one.is_like(each) for each in own.named) or _is_of(one, place, of_project):
            continue
        if not set(one.columns) <= there:
            lost.append(f"the constraint {one.name} of {place}: there is no such column any more")
            continue
        add = sql.SQL("add constraint {} {}").format(sql.Identifier(one.name), sql.SQL(one.definition))
        _require(tried(cursor, alter + add), f"The constraint {one.name}", place)
    done = set(constraints_of(cursor, relation.oid).not_null)
    for column in wanted.not_null:
        if column in there and column not in done and constraint_text(place, "not_null", [column]) not in of_project:
            clause = sql.SQL("alter column {} set not null").format(sql.Identifier(column))
            _require(tried(cursor, alter + clause), f"That {column} has a value", place)
    return lost


def keep_comments(cursor: Any, relation: Relation, wanted: Sequence[Constraint]) -> None:
    """Gives the constraints of a relation the comments that those of another one had.

    :param cursor: of the role that owns it.
    :param relation: the relation.
    :param wanted: of the other one.
    """
    commented = [one for one in wanted if one.comment]
    own = constraints_of(cursor, relation.oid).named if commented else ()
    for one in commented:
        for each in own:
            if one.is_like(each) and not each.comment:
                statement = sql.SQL("comment on constraint {} on {} is {}")
                text = sql.Literal(one.comment)
                cursor.execute(statement.format(sql.Identifier(each.name), relation.identifier, text))


def _is_of(one: Constraint, place: str, of_project: Collection[str]) -> bool:
    kind = KINDS[one.kind]
    return any(constraint_text(place, kind, names) in of_project for names in (one.columns, [one.name]))


def _require(said: str, what: str, place: str) -> None:
    if said:
        raise SettingsError(
            f"{what} of {place} does not fit what was rebuilt ({said}): nothing was changed; fix the model, or drop"
            " it, and the next deployment goes on."
        )
