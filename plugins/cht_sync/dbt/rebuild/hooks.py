"""What hooks and macros of a project do beside dbt: statements that wait for the swap, and rows in models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest, Node
from cht_sync.dbt.rebuild.errors import RebuildRefusedError
from cht_sync.dbt.rebuild.relation import PASSING, Relation, columns
from cht_sync.dbt.subprocess.staging import PACKAGES_OF_DBT
from cht_sync.postgres.lookups import value_of
from cht_sync.redaction import of_error

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class HookStatement:
    """One statement that waits for the swap.

    :param by: unique id of the model in whose hooks or macros it is, or what dbt calls a hook of the run.
    :param view: in quotes, the view that it makes or drops; empty where it does something else.
    :param sql: with the names of the tables in use.
    """

    by: str
    view: str
    drops: bool
    sql: str

    def execute(self, cursor: Cursor) -> None:
        """Executes it as dbt would, with the ``search_path`` of the role."""
        cursor.execute("set local search_path to default")
        try:
            # It is the project's own SQL, as dbt would have executed it.
            cursor.execute(self.sql)
        except psycopg2.Error as error:
            if isinstance(error, PASSING) or error.pgcode is None:
                raise
            kind, _, rest = self.by.partition(".")
            name = rest.rpartition(".")[2]
            whose = f"A hook or macro of {kind} {name}" if name else "A hook of the run, such as on-run-start,"
            head = " ".join(self.sql.split("'")[0].split())
            head = head if len(head) <= _SHOWN else f"{head[:_SHOWN]} ..."
            raise RebuildRefusedError(
                f"{whose} cannot do what follows with the rebuilt tables, nothing was changed:"
                f" {head} ({of_error(error, self.sql)}). Fix it, and the next deployment goes on."
            ) from None
        cursor.execute("set local search_path = ''")


class HookStatements:
    """All that waits for one swap, as dbt's process reports it, in order."""

    def __init__(self, statements: Iterable[dict[str, str]] = ()) -> None:
        # What each run of dbt says again is done once.
        once: dict[str, dict[str, str]] = {}
        for one in statements:
            once.pop(one["sql"], None)
            once[one["sql"]] = one
        listed = [HookStatement(one["by"], one["view"], bool(one["drops"]), one["sql"]) for one in once.values()]
        # The last one counts, and what it drops first is dropped by the swap itself.
        self._made = {one.view: one for one in listed if one.view and not one.drops}
        self._others = [one for one in listed if one.view not in self._made]
        self.begin()

    def begin(self) -> None:
        """Everything waits again, for another try."""
        self._views_left = dict(self._made)

    def make(self, cursor: Cursor, view: Relation) -> bool:
        """Makes a view in place of one that was dropped, where a hook does; else returns False."""
        statement = self._views_left.pop(view.identifier.as_string(cursor), None)
        if statement:
            statement.execute(cursor)
        return statement is not None

    def finish(self, cursor: Cursor) -> None:
        """Executes what is left."""
        for statement in [*self._views_left.values(), *self._others]:
            statement.execute(cursor)


def copy_rows_of_hooks(cursor: Cursor, manifest: Manifest, node: Node, old: Relation | None, new: Relation) -> None:
    """Copies rows that hooks wrote into a model which reads nothing, such as the results of dbt's runs."""
    if not old or new.kind != "r" or node["depends_on"].get("nodes", ["a seed"]) or not _is_written(manifest, node):
        return
    if not value_of(cursor, sql.SQL("select exists (select from {})").format(new.identifier)):
        both = sorted(columns(cursor, old.oid) & columns(cursor, new.oid))
        names = sql.SQL(", ").join(map(sql.Identifier, both))
        insert = sql.SQL("insert into {} ({}) select {} from {}")
        cursor.execute(insert.format(new.identifier, names, names, old.identifier))


def _is_written(manifest: Manifest, node: Node) -> bool:
    """Whether a hook, or a macro of a project, names the model in quotes."""
    marks = [f"'{node['name']}'", f'"{node["name"]}"']
    texts = [one["raw_code"] for one in manifest["nodes"].values() if one["resource_type"] == "operation"]
    texts += [one["macro_sql"] for one in manifest["macros"].values() if one["package_name"] not in PACKAGES_OF_DBT]
    return any(mark in text for mark in marks for text in texts)
