"""What hooks and macros of a project do beside the tables that are built anew: it waits for the swap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg2

from cht_sync.dbt.rebuild.errors import RebuildRefusedError
from cht_sync.dbt.rebuild.relation import PASSING, Relation
from cht_sync.redaction import of_error

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that waits for the swap.

    :param by: unique id of the model in whose hooks or macros it is, or what dbt calls a hook of the run.
    :param view: in quotes, the view that it makes or drops; empty where it does something else.
    :param drops: whether it drops that view.
    :param sql: with the names of the tables in use.
    """

    by: str
    view: str
    drops: bool
    sql: str

    def execute(self, cursor: Any) -> None:
        """Executes it as dbt would, with the path of the role.

        :param cursor: in the transaction of the swap.
        :raises RebuildRefusedError: if it fails, naming whose it is.
        """
        cursor.execute("set local search_path to default")
        try:
            # It is the project's own SQL, as dbt would have executed it.
            cursor.execute(self.sql)
        except psycopg2.Error as error:
            if isinstance(error, PASSING) or error.pgcode is None:
                raise
            raise RebuildRefusedError(
                f"{self._whose} cannot do what follows with the rebuilt tables, nothing was changed:"
                f" {self._head} ({of_error(error, self.sql)}). Fix it, and the next deployment goes on."
            ) from None
        cursor.execute("set local search_path = ''")

    @property
    def _whose(self) -> str:
        kind, _, rest = self.by.partition(".")
        name = rest.rpartition(".")[2]
        return f"A hook or macro of {kind} {name}" if name else "A hook of the run, such as on-run-start,"

    @property
    def _head(self) -> str:
        head = " ".join(self.sql.split("'")[0].split())
        return head if len(head) <= _SHOWN else f"{head[:_SHOWN]} ..."


class Waiting:
    """All that waits for one swap.

    :param told: what dbt's process tells, in order.
    """

    def __init__(self, told: Iterable[dict[str, str]] = ()) -> None:
        # What each run of dbt says again is done once.
        once: dict[str, dict[str, str]] = {}
        for one in told:
            once.pop(one["sql"], None)
            once[one["sql"]] = one
        listed = [Statement(one["by"], one["view"], bool(one["drops"]), one["sql"]) for one in once.values()]
        made = {one.view: one for one in listed if one.view and not one.drops}
        # The last one counts, and what it drops first is dropped by the swap itself.
        self._made = made
        self._others = [one for one in listed if one.view not in made]
        self._views_left = dict(made)

    def begin(self) -> None:
        """Everything waits again, for another try."""
        self._views_left = dict(self._made)

    def make(self, cursor: Any, view: Relation) -> bool:
        """Makes a view in place of one that was taken away, where the project does.

        :param cursor: in the transaction of the swap.
        :param view: the one that is gone.
        :return: whether it did.
        :raises RebuildRefusedError: if it cannot.
        """
        statement = self._views_left.pop(view.identifier.as_string(cursor), None)
        if statement:
            statement.execute(cursor)
        return statement is not None

    def finish(self, cursor: Any) -> None:
        """Does the rest.

        :param cursor: in the transaction of the swap, with all relations in their places.
        :raises RebuildRefusedError: if something cannot be done.
        """
        for statement in [*self._views_left.values(), *self._others]:
            statement.execute(cursor)
