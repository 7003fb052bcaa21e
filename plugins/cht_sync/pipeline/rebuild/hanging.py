"""Views that hang on relations to be dropped: taken away before, and made again on their successors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from cht_sync.errors import SettingsError
from cht_sync.pipeline.rebuild.saved import Relation, Saved, comment, give, save
from cht_sync.redaction import message_of

_HANGING = """
with recursive hanging as (
    select oid, 0 as depth from pg_class where oid = any(%(oids)s)
    union
    select r.ev_class, h.depth + 1
    from hanging h
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = h.oid
        and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid and r.ev_class <> h.oid
)
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, max(h.depth)
from hanging h
join pg_class c on c.oid = h.oid
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm')
group by c.oid, n.nspname, c.relname, c.relkind
order by max(h.depth), c.oid
"""
_VIEW = """
select pg_get_viewdef(c.oid), c.relispopulated, pg_get_userbyid(c.relowner)::text,
    pg_has_role(c.relowner, 'usage'), c.relowner = (select oid from pg_roles where rolname = current_user),
    array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = c.oid)
from pg_class c where c.oid = %s
"""


@dataclass(frozen=True, slots=True)
class HangingView:
    """A view of people, or of a model that is not built anew.

    :param relation: the view.
    :param query: what it selects.
    :param populated: whether a materialized view holds rows.
    :param owner: its role where that is another one.
    :param indexes: of a materialized view, as statements.
    :param saved: what else is on it.
    """

    relation: Relation
    query: str
    populated: bool
    owner: str | None
    indexes: tuple[str, ...]
    saved: Saved


class HangingViews:
    """All views over relations that are to be dropped.

    :param cursor: in the transaction of the swap; ``search_path`` has to be empty.
    :param old: the relations.
    :param role: of the cursor, for texts.
    :raises SettingsError: if a view belongs to a role that this one is no member of.
    """

    def __init__(self, cursor: Any, old: Collection[Relation], role: str | None) -> None:
        self._cursor = cursor
        members = {relation.oid for relation in old}
        cursor.execute(_HANGING, {"oids": list(members)})
        rows = cursor.fetchall()
        #: Views to be dropped, old ones among them, those that others hang on last.
        self.doomed = [Relation(*row[:4]) for row in reversed(rows)]
        self.outside = [self._read(Relation(*row[:4]), role) for row in rows if row[0] not in members]

    def _read(self, relation: Relation, role: str | None) -> HangingView:
        self._cursor.execute(_VIEW, (relation.oid,))
        query, populated, owner, may, own, indexes = self._cursor.fetchone()
        if not may:
            raise SettingsError(
                f"The view {relation.text} of role {owner!r} hangs on a model that is built anew, and role {role!r} may"
                f" not make it again: grant {owner} to {role}, or drop the view."
            )
        saved = save(self._cursor, relation.oid)
        return HangingView(
            relation, query.rstrip().rstrip(";"), populated, None if own else owner, tuple(indexes), saved
        )

    def drop(self) -> None:
        """Drops them."""
        for relation in self.doomed:
            self._cursor.execute(sql.SQL("drop {} {}").format(relation.word, relation.identifier))

    def make(self) -> None:
        """Makes those outside again.

        :raises SettingsError: if one does not fit the new relations.
        """
        for view in self.outside:
            try:
                self._make(view)
            except psycopg2.errors.InsufficientPrivilege:
                raise
            except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.NotSupportedError) as error:
                raise SettingsError(
                    f"The view {view.relation.text} does not fit the models that were built anew"
                    f" ({message_of(error)}): nothing was changed; change or drop the view, and the next"
                    " deployment goes on."
                ) from None

    def _make(self, view: HangingView) -> None:
        name, word = view.relation.identifier, view.relation.word
        options = sql.SQL(f" with ({', '.join(view.saved.options)})" if view.saved.options else "")
        rows = sql.SQL("" if view.populated or view.relation.kind == "v" else " with no data")
        create = sql.SQL("create {} {}{} as ").format(word, name, options)
        self._cursor.execute(create + sql.SQL(view.query) + rows)
        self._cursor.execute("select %s::regclass::oid", (name.as_string(self._cursor),))
        made = Relation(self._cursor.fetchone()[0], view.relation.schema, view.relation.name, view.relation.kind)
        for statement in (*view.indexes, *view.saved.statements):
            self._cursor.execute(statement)
        comment(self._cursor, made, view.saved.comments)
        give(self._cursor, made, list(view.saved.grants))
        if view.owner:
            self._cursor.execute(sql.SQL("alter {} {} owner to {}").format(word, name, sql.Identifier(view.owner)))
