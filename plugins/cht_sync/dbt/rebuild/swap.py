"""Puts the models that were built in staging schemas in the place of those in use, in one transaction."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as Cursor

from cht_sync.common.log_throttle import Seldom
from cht_sync.dbt.project.manifest import Manifest, Node
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.rebuild.attached import attach, detach, unchecked
from cht_sync.dbt.rebuild.constraints import missing_by_model
from cht_sync.dbt.rebuild.dependent_views import DependentViews
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.foreign_keys import ForeignKeySwap
from cht_sync.dbt.rebuild.grants import default_grants, give
from cht_sync.dbt.rebuild.hooks import HookStatements, copy_rows_of_hooks
from cht_sync.dbt.rebuild.keepable import blocked, require_apart, require_keepable
from cht_sync.dbt.rebuild.manifest import RELATIONS, constrained, constraint_texts, foreign_keys
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.rebuild.relation import PASSING, Relation, columns, find
from cht_sync.dbt.rebuild.relation_state import RelationState, comment, hand_over, keep, permit, save
from cht_sync.dbt.rebuild.starter_tables import move_edited_keys, move_progress
from cht_sync.dbt.rebuild.statistics import KeptStatistics
from cht_sync.dbt.rebuild.storage import keep_persistence, store_like
from cht_sync.dbt.tables.built_models import Columns, Place
from cht_sync.postgres.lookups import value_of
from cht_sync.redaction import dependents_of

log = logging.getLogger(__name__)

# Readers queue behind a lock that is waited for: one try holds them up for a second at most.
LOCK_TIMEOUT = "1s"
WAIT_FOR_LOCKS = "1500ms"
SWAP_WITHIN = "60s"
BEFORE_LOCKS_WITHIN = "2h"
PATIENCE_S = 600
LONGEST_PAUSE_S = 10.0
TELL_S = 30.0
_HOLDERS = """
select distinct format('%%s (%%s, in a transaction since %%s)',
    coalesce(nullif(a.application_name, ''), a.usename::text), a.pid,
    coalesce(to_char(a.xact_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS'), 'a time that is not shown'))
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.granted and l.relation = any(%s) and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
"""


@dataclass(slots=True)
class Pair:
    """A model's relation in use and the one that was built.

    :param old: None where the model is new.
    :param saved: what is on the old one.
    :param statistics: extended statistics that it had, made on the new one.
    """

    node: Node
    old: Relation | None
    new: Relation
    saved: RelationState | None = None
    statistics: KeptStatistics | None = None

    @property
    def both_hold_rows(self) -> bool:
        """Whether neither is a view, so that what is on the one can be on the other."""
        return self.old is not None and self.old.kind != "v" and self.new.kind != "v"


@dataclass(slots=True)
class Swapped:
    """How a swap went.

    :param locked_s: seconds for which readers had to wait at most, in the try that succeeded.
    :param rows: rows of each model that has a relation, by unique id.
    """

    tries: int = 0
    locked_s: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Swap:
    """One swap.

    :param conn: of the role that owns the models; of no use for anything else afterwards.
    :param role: its name, for messages.
    :param schemas: the staging schema for each schema of a model.
    :param built: the columns that dbt gave the tables in use, as far as it is known.
    :param of_hooks: what hooks do outside of these models.
    """

    def __init__(
        self,
        conn: PgConnection,
        role: str | None,
        manifest: Manifest,
        plan: RebuildPlan,
        schemas: Mapping[str, str],
        *,
        built: Mapping[Place, Columns] | None = None,
        of_hooks: HookStatements | None = None,
    ) -> None:
        self._conn, self._role, self._manifest, self._plan, self._schemas = conn, role, manifest, plan, schemas
        self._built, self._of_hooks = built or {}, of_hooks or HookStatements()
        self._swapped = Swapped()

    def run(self, in_swap: Callable[[Cursor], None]) -> Swapped:
        """Swaps and commits.

        :param in_swap: called in the transaction once all is in place; again, where readers held it up.
        :raises SettingsError: if an object that depends on a model does not fit.
        :raises RebuildError: if a constraint is missing, or readers do not let go.
        """
        with self._conn, self._conn.cursor() as cursor:
            # Postgres then gives each name with its schema.
            cursor.execute("set local search_path = ''")
            cursor.execute("set local statement_timeout = %s", (BEFORE_LOCKS_WITHIN,))
            pairs = self._pairs(cursor)
            keys = self._before_locks(cursor, pairs)
            began, tell = time.monotonic(), Seldom(0.0, TELL_S)
            while True:
                self._swapped.tries += 1
                cursor.execute("savepoint swap")
                try:
                    locked = self._exchange(cursor, pairs, keys)
                    in_swap(cursor)
                    break
                except PASSING:
                    cursor.execute("rollback to savepoint swap")
                    self._wait(cursor, pairs, began, tell)
        self._swapped.locked_s = time.monotonic() - locked
        return self._swapped

    def _pairs(self, cursor: Cursor) -> list[Pair]:
        pairs = []
        for model in self._plan.models:
            node = self._manifest["nodes"][model.unique_id]
            if new := find(cursor, self._schemas[node["schema"]], node["alias"]):
                pairs.append(Pair(node, find(cursor, node["schema"], node["alias"]), new))
            elif node["config"]["materialized"] in RELATIONS:
                raise RebuildError(f"dbt built {model.name} and it is not there: nothing was changed.")
        return pairs

    def _before_locks(self, cursor: Cursor, pairs: list[Pair]) -> ForeignKeySwap:
        """All that takes its time: no lock of it is one that readers meet."""
        # A project brings a schema with its first table there; dbt has made the staging schemas alone.
        for schema in sorted({self._manifest["nodes"][model.unique_id]["schema"] for model in self._plan.models}):
            if value_of(cursor, "select to_regnamespace(quote_ident(%s)) is null", (schema,)):
                cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        old, new = [pair.old for pair in pairs if pair.old], [pair.new for pair in pairs]
        require_apart(cursor, old, new, list(self._schemas.values()))
        require_keepable(cursor, old, self._role)
        places = [(pair.node["schema"], pair.node["alias"]) for pair in pairs]
        keys = ForeignKeySwap(cursor, [(pair.old, pair.new) for pair in pairs], places)
        keys.repoint()
        for pair in [each for each in pairs if constrained(each.node)]:
            keys.declare(pair.new, foreign_keys(self._manifest, pair.node))
        for pair in pairs:
            pair.saved = save(cursor, pair.old.oid) if pair.old else None
            if pair.both_hold_rows:
                copy_rows_of_hooks(cursor, self._manifest, pair.node, pair.old, pair.new)
                self._keep(cursor, pair)
        self._lost(keys.carry_over(self._plan.given_up))
        keys.add_incoming()
        with_rows = [(pair.new, pair.saved.storage) for pair in pairs if pair.saved and pair.both_hold_rows]
        self._lost(keep_persistence(cursor, with_rows))
        for pair in pairs:
            count = sql.SQL("select count(*) from {}").format(pair.new.identifier)
            self._swapped.rows[pair.node["unique_id"]] = value_of(cursor, count)
            if pair.new.kind != "v":
                cursor.execute(sql.SQL("analyze {}").format(pair.new.identifier))
        return keys

    def _lost(self, things: Iterable[str]) -> None:
        """Names what cannot be kept, before readers can miss it."""
        for note in self._note(f"Gone: {thing}." for thing in things):
            log.warning("%s", note)

    def _note(self, notes: Iterable[str]) -> list[str]:
        """Adds notes, once each also where a try is repeated; returns those that are new."""
        new = [note for note in dict.fromkeys(notes) if note not in self._swapped.notes]
        self._swapped.notes += new
        return new

    def _keep(self, cursor: Cursor, pair: Pair) -> None:
        """What users put on a table and its columns, as far as it takes time or ``analyze`` needs it."""
        if not pair.saved or not pair.old:
            return
        saved, new, place = pair.saved, pair.new, pair.old.text
        there = columns(cursor, new.oid)
        if built := self._built.get((pair.old.schema, pair.old.name)):
            by_hand = columns(cursor, pair.old.oid) - set(built) - there
            self._lost([f"the column {name} of {place}, which no model built" for name in sorted(by_hand)])
        self._lost([f"the disabled check of {key} of {place}" for key in unchecked(cursor, pair.old.oid)])
        lost, pair.statistics = keep(cursor, new, saved, place, {*self._plan.given_up, *constraint_texts(pair.node)})
        self._lost(lost)

    def _exchange(self, cursor: Cursor, pairs: list[Pair], keys: ForeignKeySwap) -> float:
        old = [pair.old for pair in pairs if pair.old]
        cursor.execute("set local lock_timeout = %s", (LOCK_TIMEOUT,))
        cursor.execute("set local statement_timeout = %s", (WAIT_FOR_LOCKS,))
        self._of_hooks.begin()
        shown = api_views.withdraw(cursor)
        views = DependentViews(cursor, old, self._role, self._of_hooks)
        tables = [relation for relation in old if relation.kind in "rp"]
        names = [relation.identifier for relation in [*tables, *(key.table for key, _ in keys.incoming)]]
        locked = time.monotonic()
        if names:
            cursor.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(names)))
        cursor.execute("set local statement_timeout = %s", (SWAP_WITHIN,))
        keys.drop_incoming()
        things = []
        for pair in pairs:
            there = columns(cursor, pair.new.oid)
            things += [thing for thing in (pair.saved.attached if pair.saved else ()) if thing.column in there]
        detach(cursor, [*old, *views.doomed], things)
        views.drop()
        if tables:
            # Without cascade: what is not known here makes it fail, and is not lost.
            identifiers = sql.SQL(", ").join(relation.identifier for relation in tables)
            try:
                cursor.execute(sql.SQL("drop table {}").format(identifiers))
            except psycopg2.errors.DependentObjectsStillExist as error:
                raise RebuildError(blocked(dependents_of(error))) from None
        for pair in pairs:
            cursor.execute(pair.new.alter("set schema {}", sql.Identifier(pair.node["schema"])))
        keys.rename_incoming()
        views.make()
        for pair in pairs:
            self._restore(cursor, pair, replace(pair.new, schema=pair.node["schema"]))
        self._lost([*views.fill(), *views.lost])
        self._of_hooks.finish(cursor)
        built = [pair.node["unique_id"] for pair in pairs]
        move_progress(cursor, self._manifest, built, self._schemas)
        move_edited_keys(cursor, self._manifest, built, self._schemas)
        self._verify(cursor)
        if shown:
            api_views.refresh(cursor)
        return locked

    def _restore(self, cursor: Cursor, pair: Pair, relation: Relation) -> None:
        """Gives a relation what was on the one before it."""
        saved = pair.saved
        if not saved:
            give(cursor, relation, default_grants(cursor, relation.schema))
            return
        self._lost(hand_over(cursor, relation, saved))
        if pair.statistics:
            self._lost(pair.statistics.name())
        # What a project grants by itself is as it says there.
        own = {str(name).upper() for name in pair.node["config"].get("grants") or {}}
        permit(cursor, relation, saved, own)
        comment(cursor, relation, saved.comments)
        if relation.kind == "v" and pair.old and pair.old.kind == "v":
            self._lost(store_like(cursor, relation, saved.storage, set()))
        for thing in attach(cursor, relation, saved.attached):
            if thing.kind == "publication":
                of = f"the publication {thing.name} have the old rows of {relation.text}"
                self._note([f"Subscribers of {of}: copy it again."])

    def _verify(self, cursor: Cursor) -> None:
        missing = missing_by_model(cursor, self._manifest)
        if lost := [line for name in self._plan.unique_ids for line in missing.get(name, ())]:
            raise RebuildError(
                f"The project declares constraints that are missing after the models were rebuilt, nothing was"
                f" changed: {'; '.join(lost)}."
            )
        self._note(f"Missing before and after: {line}." for lines in missing.values() for line in lines)

    def _wait(self, cursor: Cursor, pairs: list[Pair], began: float, tell: Seldom) -> None:
        cursor.execute(_HOLDERS, ([pair.old.oid for pair in pairs if pair.old],))
        who = ", ".join(row[0] for row in cursor.fetchall()) or "transactions that have just ended"
        if time.monotonic() - began > PATIENCE_S:
            raise RebuildError(
                f"Readers did not let go of the models within {PATIENCE_S} s, nothing was changed: end the transactions"
                f" of {who}; the next deployment tries again."
            )
        pause = random.uniform(0.5, min(LONGEST_PAUSE_S, 2.0**self._swapped.tries))  # noqa: S311
        if tell.due():
            log.info(
                "Readers hold the models (%s): trying again in %.1f s, try %d.", who, pause, self._swapped.tries + 1
            )
        time.sleep(pause)
