"""Views that depend on relations to be dropped: dropped before, and made again on their successors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.attached import attach
from cht_sync.dbt.rebuild.errors import RebuildError, unfit
from cht_sync.dbt.rebuild.hooks import HookStatements
from cht_sync.dbt.rebuild.relation import Relation, find
from cht_sync.dbt.rebuild.relation_state import RelationState, comment, hand_over, keep, permit, save
from cht_sync.errors import SettingsError
from cht_sync.redaction import message_of

_DEPENDENT = """
with recursive hanging as (
    select oid, 0 as depth from pg_class where oid = any(%(oids)s)
    union
    select r.ev_class, h.depth + 1
    from hanging h
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = h.oid
        and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid and r.ev_class <> h.oid and r.rulename = '_RETURN'
    join pg_class v on v.oid = r.ev_class
        and (%(without)s is null or v.relnamespace is distinct from to_regnamespace(%(without)s))
)
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, max(h.depth)
from hanging h
join pg_class c on c.oid = h.oid
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm')
group by c.oid, n.nspname, c.relname, c.relkind
order by max(h.depth), c.oid
"""
_VIEW = "select pg_get_viewdef(oid), relispopulated from pg_class where oid = %s"
_OWNER = "select pg_get_userbyid(relowner)::text, pg_has_role(relowner, 'usage') from pg_class where oid = %s"


@dataclass(frozen=True, slots=True)
class DependentView:
    """A user-defined view, or one of a model that is not rebuilt.

    :param populated: whether a materialized view holds rows.
    """

    relation: Relation
    query: str
    populated: bool
    saved: RelationState


class DependentViews:
    """All views over relations that are to be dropped.

    :param cursor: in the transaction of the swap; ``search_path`` has to be empty.
    :param of_hooks: a view that hooks make again is theirs, and need not fit the new relations as it was.
    :raises SettingsError: if a view belongs to a role that this one is no member of.
    """

    def __init__(self, cursor: Cursor, old: Collection[Relation], role: str | None, of_hooks: HookStatements) -> None:
        self._cursor = cursor
        self._of_hooks = of_hooks
        self._made: dict[int, Relation] = {}
        #: What could not be kept, each with why.
        self.lost: list[str] = []
        members = {relation.oid for relation in old}
        views = views_over(cursor, members)
        #: Views to be dropped, old ones among them, those that others depend on last.
        self.doomed = list(reversed(views))
        self.outside = [self._read(view, role) for view in views if view.oid not in members]

    def _read(self, relation: Relation, role: str | None) -> DependentView:
        require_makeable(self._cursor, relation, role)
        self._cursor.execute(_VIEW, (relation.oid,))
        [(query, populated)] = self._cursor.fetchall()
        return DependentView(relation, query.rstrip().rstrip(";"), populated, save(self._cursor, relation.oid))

    def drop(self) -> None:
        """Drops them."""
        for relation in self.doomed:
            self._cursor.execute(sql.SQL("drop {} {}").format(relation.word, relation.identifier))

    def make(self) -> None:
        """Makes again those that are not rebuilt, materialized ones without rows; SettingsError if one does not fit."""
        for view in self.outside:
            with _fitting(view):
                self._make(view)

    def fill(self) -> list[str]:
        """Fills materialized views, once the relations that they read have all their rules, and hands them over.

        :return: what could not be kept, each with why.
        :raises SettingsError: if one does not fit the new relations.
        """
        lost = []
        for view in self.outside:
            made = self._made[view.relation.oid]
            with _fitting(view):
                if made.kind == "m" and view.populated:
                    self._cursor.execute(sql.SQL("refresh materialized view {}").format(made.identifier))
                lost += hand_over(self._cursor, made, view.saved)
                permit(self._cursor, made, view.saved, set())
                attach(self._cursor, made, view.saved.attached)
        return lost

    def _make(self, view: DependentView) -> None:
        name, word, is_view = view.relation.identifier, view.relation.word, view.relation.kind == "v"
        if self._of_hooks.make(self._cursor, view.relation):
            self._note(view)
            return
        # The other settings of a materialized view are set afterwards: those of its TOAST table too.
        kept = view.saved.storage.options if is_view else {}
        options = [sql.SQL(f"{key} = ") + sql.Literal(value) for key, value in kept.items()]
        given = sql.SQL(" with ({})").format(sql.SQL(", ").join(options)) if options else sql.SQL("")
        rows = sql.SQL("" if is_view else " with no data")
        self._cursor.execute(sql.SQL("create {} {}{} as ").format(word, name, given) + sql.SQL(view.query) + rows)
        made = self._note(view)
        if not is_view:
            lost, statistics = keep(self._cursor, made, view.saved, made.text)
            self.lost += [*lost, *statistics.name()]
        comment(self._cursor, made, view.saved.comments)

    def _note(self, view: DependentView) -> Relation:
        made = find(self._cursor, view.relation.schema, view.relation.name)
        if made is None:
            raise RebuildError(f"{view.relation.text} was made again and is not there: nothing was changed.")
        self._made[view.relation.oid] = made
        return made


def views_over(cursor: Cursor, oids: Collection[int], without: str | None = None) -> list[Relation]:
    """The views among relations and over them, those first that others depend on; ``without`` those of a schema."""
    cursor.execute(_DEPENDENT, {"oids": list(oids), "without": without})
    return [Relation(*row[:4]) for row in cursor.fetchall()]


def require_makeable(cursor: Cursor, view: Relation, role: str | None) -> None:
    """Refuses a view that could not be made again: its role is one that this role is no member of."""
    cursor.execute(_OWNER, (view.oid,))
    [(owner, may)] = cursor.fetchall()
    if not may:
        raise SettingsError(
            f"The view {view.text} of role {owner!r} depends on a model that is rebuilt, and role {role!r} may"
            f" not create it again: grant {owner} to {role}, or drop the view."
        )


@contextmanager
def _fitting(view: DependentView) -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.InsufficientPrivilege:
        raise
    except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.NotSupportedError) as error:
        what, made = f"The view {view.relation.text}", "the models that were rebuilt"
        raise unfit(what, message_of(error), "change or drop the view", made) from None
