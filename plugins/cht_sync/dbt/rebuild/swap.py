"""Puts the models that were built aside in the place of those in use, in one transaction."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from airflow.sdk import Connection
from psycopg2 import sql

from cht_sync.common.log_throttle import Seldom
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.rebuild.attached import attach, detach, unchecked
from cht_sync.dbt.rebuild.constraints import missing_by_model
from cht_sync.dbt.rebuild.dependent_views import HangingViews
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.foreign_keys import KeyKeeper
from cht_sync.dbt.rebuild.grants import default_grants, give
from cht_sync.dbt.rebuild.indexes import keep_indexes
from cht_sync.dbt.rebuild.keepable import blocked, require_keepable
from cht_sync.dbt.rebuild.leftovers import require_apart
from cht_sync.dbt.rebuild.manifest import RELATIONS, Manifest, constrained, constraint_texts, foreign_keys
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.rebuild.relation import PASSING, Relation, columns, find
from cht_sync.dbt.rebuild.relation_state import Saved, comment, hand_over, permit, save
from cht_sync.dbt.rebuild.starter_tables import move_edited_keys, move_progress
from cht_sync.dbt.rebuild.statistics import KeptStatistics
from cht_sync.dbt.rebuild.storage import keep_persistence, store_like
from cht_sync.dbt.rebuild.table_constraints import keep_comments, keep_constraints
from cht_sync.dbt.rebuild.waiting import Waiting
from cht_sync.dbt.tables.built_models import Columns, Place
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
    """A model's relation in use and the one built aside.

    :param unique_id: of the model.
    :param old: None where the model is new.
    :param new: the one aside.
    :param saved: what is on the old one.
    :param statistics: extended statistics that it had, made on the new one.
    """

    unique_id: str
    old: Relation | None
    new: Relation
    saved: Saved | None = None
    statistics: KeptStatistics | None = None

    @property
    def is_alike(self) -> bool:
        """Whether both hold rows, so that what is on the one can be on the other."""
        return self.old is not None and self.old.kind != "v" and self.new.kind != "v"


@dataclass(slots=True)
class Swapped:
    """How a swap went.

    :param tries: tries to get the locks.
    :param locked_s: seconds for which readers had to wait at most, in the try that succeeded.
    :param rows: rows of each model that has a relation, by unique id.
    :param notes: what a person should know.
    """

    tries: int = 0
    locked_s: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Swap:
    """One swap.

    :param conn: connection of the role that owns the models, of no use for anything else afterwards.
    :param connection: its Airflow connection, for texts.
    :param manifest: of the new version.
    :param plan: what was built.
    :param schemas: the schema aside for each schema of a model.
    :param built: the columns that dbt gave the tables in use, as far as it is known.
    :param waiting: what hooks do beside the models.
    """

    def __init__(  # noqa: PLR0917
        self,
        conn: Any,
        connection: Connection,
        manifest: Manifest,
        plan: RebuildPlan,
        schemas: Mapping[str, str],
        built: Mapping[Place, Columns] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._conn = conn
        self._connection = connection
        self._manifest = manifest
        self._plan = plan
        self._schemas = schemas
        self._built = built or {}
        self._waiting = waiting or Waiting()
        self._swapped = Swapped()

    def run(self, in_swap: Callable[[Any], None]) -> Swapped:
        """Swaps and commits.

        :param in_swap: called in the transaction, with a cursor, once all is in place.
        :raises SettingsError: if something that hangs on a model does not fit.
        :raises RebuildError: if a constraint is missing, or readers do not let go.
        """
        with self._conn, self._conn.cursor() as cursor:
            # Postgres then tells each name with its schema.
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

    def _pairs(self, cursor: Any) -> list[Pair]:
        pairs = []
        for model in self._plan.models:
            node = self._manifest["nodes"][model.unique_id]
            new = find(cursor, self._schemas[node["schema"]], node["alias"])
            if new:
                pairs.append(Pair(model.unique_id, find(cursor, node["schema"], node["alias"]), new))
            elif node["config"]["materialized"] in RELATIONS:
                raise RebuildError(f"dbt built {model.name} and it is not there: nothing was changed.")
        return pairs

    def _before_locks(self, cursor: Any, pairs: list[Pair]) -> KeyKeeper:
        """All that takes its time: no lock of it is one that readers meet."""
        self._make_schemas(cursor)
        nodes = [self._manifest["nodes"][pair.unique_id] for pair in pairs]
        places = [(node["schema"], node["alias"]) for node in nodes]
        new = [pair.new for pair in pairs]
        require_apart(cursor, [pair.old for pair in pairs if pair.old], new, list(self._schemas.values()))
        require_keepable(cursor, [pair.old for pair in pairs if pair.old], self._connection.login)
        keys = KeyKeeper(cursor, [(pair.old, pair.new) for pair in pairs], places)
        keys.mend()
        for pair, node in zip(pairs, nodes, strict=True):
            if constrained(node):
                keys.declare(pair.new, foreign_keys(self._manifest, node))
        for pair in pairs:
            pair.saved = save(cursor, pair.old.oid) if pair.old else None
            if pair.is_alike:
                self._keep_rows(cursor, pair)
                self._keep(cursor, pair)
        self._gone(keys.carry(self._plan.given_up))
        keys.lead()
        alike = [(pair.new, pair.saved.storage) for pair in pairs if pair.saved and pair.is_alike]
        self._gone(keep_persistence(cursor, alike))
        for pair in pairs:
            cursor.execute(sql.SQL("select count(*) from {}").format(pair.new.identifier))
            self._swapped.rows[pair.unique_id] = cursor.fetchone()[0]
            if pair.new.kind != "v":
                cursor.execute(sql.SQL("analyze {}").format(pair.new.identifier))
        return keys

    def _gone(self, things: Collection[str]) -> None:
        """Names what cannot be kept, before readers can miss it."""
        new = [note for note in dict.fromkeys(f"Gone: {thing}." for thing in things) if note not in self._swapped.notes]
        for note in new:
            log.warning("%s", note)
        self._swapped.notes += new

    def _make_schemas(self, cursor: Any) -> None:
        """Those that a project brings with its first table there; dbt made but the ones aside."""
        for schema in sorted({self._manifest["nodes"][model.unique_id]["schema"] for model in self._plan.models}):
            cursor.execute("select to_regnamespace(quote_ident(%s)) is null", (schema,))
            if cursor.fetchone()[0]:
                cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))

    def _keep_rows(self, cursor: Any, pair: Pair) -> None:
        """Rows that hooks wrote into a model which reads nothing, such as the results of dbt's runs."""
        node = self._manifest["nodes"][pair.unique_id]
        if (
            node["depends_on"].get("nodes", ["a seed"])
            or pair.new.kind != "r"
            or not _written_by_hooks(self._manifest, node)
        ):
            return
        cursor.execute(sql.SQL("select exists (select from {})").format(pair.new.identifier))
        if not cursor.fetchone()[0] and pair.old:
            both = sorted(columns(cursor, pair.old.oid) & columns(cursor, pair.new.oid))
            names = sql.SQL(", ").join(map(sql.Identifier, both))
            insert = sql.SQL("insert into {} ({}) select {} from {}")
            cursor.execute(insert.format(pair.new.identifier, names, names, pair.old.identifier))

    def _keep(self, cursor: Any, pair: Pair) -> None:
        """What people put on a table and its columns, and takes its time or is of use to whoever analyzes it."""
        if not pair.saved or not pair.old:
            return
        saved, new, place = pair.saved, pair.new, pair.old.text
        there = columns(cursor, new.oid)
        if built := self._built.get((pair.old.schema, pair.old.name)):
            by_hand = columns(cursor, pair.old.oid) - set(built) - there
            self._gone([f"the column {name} of {place}, which no model built" for name in sorted(by_hand)])
        self._gone([f"the disabled check of {key} of {place}" for key in unchecked(cursor, pair.old.oid)])
        self._gone(store_like(cursor, new, saved.storage, there))
        if new.kind != "m":
            of_project = {*self._plan.given_up, *constraint_texts(self._manifest["nodes"][pair.unique_id])}
            self._gone(keep_constraints(cursor, new, saved.constraints, place, of_project))
        self._gone(keep_indexes(cursor, new, saved.indexes, place))
        keep_comments(cursor, new, saved.constraints.named)
        pair.statistics = KeptStatistics(cursor, new, saved.statistics)
        self._gone(pair.statistics.lost)

    def _exchange(self, cursor: Any, pairs: list[Pair], keys: KeyKeeper) -> float:
        old = [pair.old for pair in pairs if pair.old]
        cursor.execute("set local lock_timeout = %s", (LOCK_TIMEOUT,))
        cursor.execute("set local statement_timeout = %s", (WAIT_FOR_LOCKS,))
        self._waiting.begin()
        shown = api_views.withdraw(cursor)
        hanging = HangingViews(cursor, old, self._connection.login, self._waiting)
        tables = [relation for relation in old if relation.kind in "rp"]
        names = [relation.identifier for relation in tables] + [key.table for key, _ in keys.leading]
        locked = time.monotonic()
        if names:
            cursor.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(names)))
        cursor.execute("set local statement_timeout = %s", (SWAP_WITHIN,))
        keys.take_over()
        self._detach(cursor, pairs, hanging)
        hanging.drop()
        if tables:
            # Without cascade: what is not known here makes it fail, and is not lost.
            all_of_them = sql.SQL(", ").join(relation.identifier for relation in tables)
            try:
                cursor.execute(sql.SQL("drop table {}").format(all_of_them))
            except psycopg2.errors.DependentObjectsStillExist as error:
                raise RebuildError(blocked(dependents_of(error))) from None
        moved = [self._move(cursor, pair) for pair in pairs]
        keys.rename()
        hanging.make()
        for pair, relation in zip(pairs, moved, strict=True):
            self._dress(cursor, pair, relation)
        self._gone([*hanging.fill(), *hanging.lost])
        self._waiting.finish(cursor)
        built = [pair.unique_id for pair in pairs]
        move_progress(cursor, self._manifest, built, self._schemas)
        move_edited_keys(cursor, self._manifest, built, self._schemas)
        self._verify(cursor)
        if shown:
            api_views.refresh(cursor)
        return locked

    def _move(self, cursor: Any, pair: Pair) -> Relation:
        schema = self._manifest["nodes"][pair.unique_id]["schema"]
        move = sql.SQL("alter {} {} set schema {}")
        cursor.execute(move.format(pair.new.word, pair.new.identifier, sql.Identifier(schema)))
        return Relation(pair.new.oid, schema, pair.new.name, pair.new.kind)

    def _detach(self, cursor: Any, pairs: list[Pair], hanging: HangingViews) -> None:
        things = []
        for pair in pairs:
            there = columns(cursor, pair.new.oid)
            things += [thing for thing in (pair.saved.attached if pair.saved else ()) if thing.column in there]
        detach(cursor, [*(pair.old for pair in pairs if pair.old), *hanging.doomed], things)

    def _dress(self, cursor: Any, pair: Pair, relation: Relation) -> None:
        """Gives a relation what its place had."""
        saved = pair.saved
        if not saved:
            give(cursor, relation, default_grants(cursor, relation.schema))
            return
        self._gone(hand_over(cursor, relation, saved))
        if pair.statistics:
            self._gone(pair.statistics.name())
        # What a project grants by itself is as it says there.
        own = {str(name).upper() for name in self._manifest["nodes"][pair.unique_id]["config"].get("grants") or {}}
        permit(cursor, relation, saved, own)
        comment(cursor, relation, saved.comments)
        if relation.kind == "v" and pair.old and pair.old.kind == "v":
            self._gone(store_like(cursor, relation, saved.storage, set()))
        for thing in attach(cursor, relation, saved.attached):
            if thing.kind == "publication":
                note = (
                    f"Subscribers of the publication {thing.name} have the old rows of {relation.text}: copy it again."
                )
                self._swapped.notes += [note] if note not in self._swapped.notes else []

    def _verify(self, cursor: Any) -> None:
        missing = missing_by_model(cursor, self._manifest)
        built = {model.unique_id for model in self._plan.models}
        lost = [line for name, lines in missing.items() for line in lines if name in built]
        if lost:
            raise RebuildError(
                f"The project declares constraints that are missing after the models were rebuilt, nothing was"
                f" changed: {'; '.join(lost)}."
            )
        others = [f"Missing before and after: {line}." for lines in missing.values() for line in lines]
        self._swapped.notes += [line for line in others if line not in self._swapped.notes]

    def _wait(self, cursor: Any, pairs: list[Pair], began: float, tell: Seldom) -> None:
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


def _written_by_hooks(manifest: Manifest, node: dict[str, Any]) -> bool:
    """Whether a hook, or a macro of a project, names the model in quotes."""
    marks = [f"'{node['name']}'", f'"{node["name"]}"']
    texts = [one["raw_code"] for one in manifest["nodes"].values() if one["resource_type"] == "operation"]
    texts += [
        one["macro_sql"] for one in manifest["macros"].values() if one["package_name"] not in {"dbt", "dbt_postgres"}
    ]
    return any(mark in text for mark in marks for text in texts)
