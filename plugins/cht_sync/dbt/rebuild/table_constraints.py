"""User-defined constraints of a relation, other than foreign keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.errors import unfit
from cht_sync.dbt.rebuild.manifest import constraint_text
from cht_sync.dbt.rebuild.relation import Relation, columns, tried

KINDS = {"c": "check", "u": "unique", "p": "primary_key", "x": "exclusion", "n": "not_null", "f": "foreign_key"}
# Those of parent tables come with the inheritance or the partition.
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

    :param kind: ``contype``.
    :param definition: what follows its name.
    """

    name: str
    kind: str
    definition: str
    columns: list[str]
    comment: str | None

    def is_like(self, other: Constraint) -> bool:
        """Whether another relation has the same, or says for itself what this name is to mean."""
        if self.kind != other.kind:
            return False
        if self.name == other.name or self.kind == "p":
            return True
        # The text of a foreign key names the other table, which may be rebuilt as well.
        same_columns = self.kind in "nf" and self.columns == other.columns
        return same_columns or (self.kind in "uxc" and self.definition == other.definition)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Those of a relation."""

    named: tuple[Constraint, ...]
    not_null: tuple[str, ...]


def constraints_of(cursor: Cursor, oid: int) -> Constraints:
    """The constraints of a relation; ``search_path`` has to be empty."""
    cursor.execute(_CONSTRAINTS, (oid,))
    named = tuple(Constraint(*row) for row in cursor.fetchall())
    cursor.execute(_NOT_NULL, (oid,))
    return Constraints(named, tuple(row[0] for row in cursor.fetchall()))


def keep_constraints(
    cursor: Cursor, relation: Relation, wanted: Constraints, place: str, of_project: Collection[str]
) -> list[str]:
    """Gives a relation the constraints that another one had, save those that are the project's to make.

    :param place: name of the relation in messages.
    :param of_project: those that the project declares or has given up, as :func:`constraint_text` has them.
    :return: what went with its column.
    :raises SettingsError: if the rows do not fit one.
    """
    own, there, lost = constraints_of(cursor, relation.oid), columns(cursor, relation.oid), []
    remedy = "fix the model, or drop it"
    for one in wanted.named:
        if one.kind == "f" or any(one.is_like(each) for each in own.named) or _is_of(one, place, of_project):
            continue
        if not set(one.columns) <= there:
            lost.append(f"the constraint {one.name} of {place}: there is no such column any more")
            continue
        add = relation.alter("add constraint {} {}", sql.Identifier(one.name), sql.SQL(one.definition))
        if said := tried(cursor, add):
            raise unfit(f"The constraint {one.name} of {place}", said, remedy)
    done = set(constraints_of(cursor, relation.oid).not_null)
    for column in wanted.not_null:
        if column in there and column not in done and constraint_text(place, "not_null", [column]) not in of_project:
            alter = relation.alter("alter column {} set not null", sql.Identifier(column))
            if said := tried(cursor, alter):
                raise unfit(f"That {column} has a value of {place}", said, remedy)
    return lost


def keep_comments(cursor: Cursor, relation: Relation, wanted: Sequence[Constraint]) -> None:
    """Gives the constraints of a relation the comments that those of another one had."""
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
