"""User-defined extended statistics: ``create statistics``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.relation import Relation, tried

_STATISTICS = """
select s.oid, n.nspname::text, s.stxname::text, pg_get_statisticsobjdef(s.oid),
    format('CREATE STATISTICS %%I.%%I', n.nspname, s.stxname), coalesce(s.stxstattarget, -1)::int,
    obj_description(s.oid, 'pg_statistic_ext'), nullif(pg_get_userbyid(s.stxowner)::text, current_user::text)
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where s.stxrelid = %s
order by s.oid
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Extended statistics of a relation."""

    oid: int
    schema: str
    name: str
    definition: str
    head: str
    target: int
    comment: str | None
    owner: str | None

    @property
    def what(self) -> str:
        """Its kinds and columns."""
        # The table comes last; an expression may hold the word too.
        return self.definition.removeprefix(self.head).rpartition(" FROM ")[0]

    @property
    def text(self) -> str:
        """For messages."""
        return f"the statistics {self.schema}.{self.name}"


def statistics(cursor: Cursor, oid: int) -> list[Statistics]:
    """The extended statistics of a relation; ``search_path`` has to be empty."""
    cursor.execute(_STATISTICS, (oid,))
    return [Statistics(*row) for row in cursor.fetchall()]


class KeptStatistics:
    """Gives a relation the statistics of another one: made before it is analyzed, named when that one is gone."""

    def __init__(self, cursor: Cursor, relation: Relation, wanted: Sequence[Statistics]) -> None:
        self._cursor = cursor
        own = {one.what for one in statistics(cursor, relation.oid)} if wanted else set()
        self._made: list[tuple[Statistics, sql.Identifier, str]] = []
        #: What could not be kept, each with why.
        self.lost: list[str] = []
        for one in wanted:
            if one.what in own:
                continue
            # Two of one name may come from different schemas.
            name = f"cht_sync_rebuild_{one.oid}"
            place = sql.Identifier(relation.schema, name)
            create = sql.SQL("create statistics {} {} from {}")
            if said := tried(cursor, create.format(place, sql.SQL(one.what), relation.identifier)):
                self.lost.append(f"{one.text} ({said})")
            else:
                self._made.append((one, place, name))
                if one.target >= 0:
                    cursor.execute(sql.SQL("alter statistics {} set statistics %s").format(place), (one.target,))

    def name(self) -> list[str]:
        """Gives them their names; returns what could not be kept, each with why."""
        lost = []
        for one, place, name in self._made:
            moved, own = sql.Identifier(one.schema, name), sql.Identifier(one.schema, one.name)
            steps = [
                sql.SQL("alter statistics {} set schema {}").format(place, sql.Identifier(one.schema)),
                sql.SQL("alter statistics {} rename to {}").format(moved, sql.Identifier(one.name)),
            ]
            if one.comment:
                steps.append(sql.SQL("comment on statistics {} is {}").format(own, sql.Literal(one.comment)))
            if one.owner:
                steps.append(sql.SQL("alter statistics {} owner to {}").format(own, sql.Identifier(one.owner)))
            if said := tried(self._cursor, *steps):
                self._cursor.execute(sql.SQL("drop statistics {}").format(place))
                lost.append(f"{one.text} ({said})")
        return lost
