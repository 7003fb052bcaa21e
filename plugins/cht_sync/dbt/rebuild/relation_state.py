"""What is on a relation apart from its rows, and how a new relation of that name gets it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.attached import Attached, attached
from cht_sync.dbt.rebuild.grants import Grant, give_like, grants, not_of_owner
from cht_sync.dbt.rebuild.indexes import Index, indexes, keep_indexes
from cht_sync.dbt.rebuild.relation import Relation, columns, tried
from cht_sync.dbt.rebuild.statistics import KeptStatistics, Statistics, statistics
from cht_sync.dbt.rebuild.storage import Storage, storage, store_like
from cht_sync.dbt.rebuild.table_constraints import Constraints, constraints_of, keep_comments, keep_constraints
from cht_sync.postgres.lookups import value_of

_COMMENTS = """
select a.attname::text, d.description
from pg_description d
left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
where d.classoid = 'pg_class'::regclass and d.objoid = %s
"""
_OWNER = "select nullif(pg_get_userbyid(relowner)::text, current_user::text) from pg_class where oid = %s"


@dataclass(frozen=True, slots=True)
class RelationState:
    """What is on a relation apart from its rows.

    :param owner: its role, where that is another one.
    :param not_of_owner: privileges that its owner has taken from itself.
    :param comments: by column; that of the relation by None.
    :param attached: what one statement makes again.
    """

    owner: str | None
    grants: tuple[Grant, ...]
    not_of_owner: tuple[str, ...]
    comments: dict[str | None, str]
    storage: Storage
    indexes: list[Index]
    constraints: Constraints
    statistics: list[Statistics]
    attached: tuple[Attached, ...]


def save(cursor: Cursor, oid: int) -> RelationState:
    """Reads what is on a relation; ``search_path`` has to be empty, so that names come with their schema."""
    owner = value_of(cursor, _OWNER, (oid,))
    cursor.execute(_COMMENTS, (oid,))
    comments = dict(cursor.fetchall())
    return RelationState(
        owner,
        grants(cursor, oid),
        not_of_owner(cursor, oid),
        comments,
        storage(cursor, oid),
        indexes(cursor, oid),
        constraints_of(cursor, oid),
        statistics(cursor, oid),
        attached(cursor, oid),
    )


def keep(
    cursor: Cursor, relation: Relation, saved: RelationState, place: str, of_project: Collection[str] = ()
) -> tuple[list[str], KeptStatistics]:
    """Gives a relation what was on another one and takes time, or is needed by ``analyze``.

    :param place: name of the relation in messages.
    :param of_project: constraints that are the project's to make, as :func:`constraint_text` has them.
    :return: what could not be kept, each with why; and statistics that have no names yet.
    """
    lost = store_like(cursor, relation, saved.storage, columns(cursor, relation.oid))
    if relation.kind != "m":
        lost += keep_constraints(cursor, relation, saved.constraints, place, of_project)
    lost += keep_indexes(cursor, relation, saved.indexes, place)
    keep_comments(cursor, relation, saved.constraints.named)
    kept = KeptStatistics(cursor, relation, saved.statistics)
    return [*lost, *kept.lost], kept


def hand_over(cursor: Cursor, relation: Relation, saved: RelationState) -> list[str]:
    """Gives a relation to the role that owned another one; returns that it could not, with why."""
    if not saved.owner:
        return []
    said = tried(cursor, relation.alter("owner to {}", sql.Identifier(saved.owner)))
    return [f"that {relation.text} belongs to role {saved.owner} ({said})"] if said else []


def permit(cursor: Cursor, relation: Relation, saved: RelationState, own: set[str]) -> None:
    """Gives a relation the grants that another one had, but for privileges that the project grants by itself."""
    give_like(cursor, relation, saved.grants, own)
    for privilege in saved.not_of_owner:
        owner = sql.Identifier(saved.owner) if saved.owner else sql.SQL("current_user")
        cursor.execute(sql.SQL(f"revoke {privilege} on table {{}} from {{}}").format(relation.identifier, owner))


def comment(cursor: Cursor, relation: Relation, comments: dict[str | None, str]) -> None:
    """Gives a relation the comments for which it has none of its own."""
    if not comments:
        return
    cursor.execute(_COMMENTS, (relation.oid,))
    own = dict(cursor.fetchall())
    there = columns(cursor, relation.oid)
    for column, text in comments.items():
        if column in own or (column is not None and column not in there):
            continue
        what = relation.word if column is None else sql.SQL("column")
        name = sql.Identifier(*filter(None, (relation.schema, relation.name, column)))
        cursor.execute(sql.SQL("comment on {} {} is {}").format(what, name, sql.Literal(text)))
