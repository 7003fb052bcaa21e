"""Compares the tables of models with what was built, and remembers what is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from airflow.sdk import Connection
from psycopg2.extensions import connection as PgConnection

from cht_sync.dbt.run.table_columns import Found, Kept, built_now, complaint, declared_types, read_tables
from cht_sync.dbt.tables.built_models import BuiltModels, Columns, Place
from cht_sync.postgres.transaction import transaction


class Contracts:
    """What dbt built last is the contract of each table that it adds to; before that, what its project declares.

    :param conn: connection of the role that owns the models, in autocommit mode.
    :param connection: Airflow connection of the role that writes the raw tables.
    :param kept: the models whose tables dbt adds to, by unique id.
    """

    def __init__(self, conn: PgConnection, connection: Connection, schema: str, kept: Mapping[str, Kept]) -> None:
        self._conn, self._connection, self._schema, self._kept = conn, connection, schema, kept
        self._before: dict[Place, Found] = {}

    def changed(self, models: Collection[str]) -> dict[str, str]:
        """Models whose tables are not as they were built: a message by unique id."""
        kept = {model: one for model in sorted(models) if (one := self._kept.get(model))}
        if not kept:
            return {}
        built = self._built
        with self._conn.cursor() as cursor:
            self._before = read_tables(cursor, [one.place for one in kept.values()])
            unknown = [one for one in kept.values() if one.place not in built and one.place in self._before]
            numbers = declared_types(cursor, unknown) if any(one.declared for one in unknown) else {}
        said = {
            model: complaint(one, self._before.get(one.place), built.get(one.place), numbers)
            for model, one in kept.items()
        }
        return {model: text for model, text in said.items() if text}

    def batches(self, models: Collection[str]) -> dict[str, Any]:
        """Which batches are built of microbatch models, by unique id; without those of which nothing is known."""
        places = {model: one.place for model in models if (one := self._kept.get(model)) and one.in_batches}
        if not places:
            return {}
        with transaction(self._connection, "cht_sync models", "read which batches were built") as cursor:
            noted = BuiltModels(cursor, self._schema).batches()
        return {model: noted[place] for model, place in places.items() if place in noted}

    def record(self, models: Collection[str], batches: Mapping[str, Any] | None = None) -> None:
        """Remembers the tables of models that have run well.

        :param batches: which batches of them are built, as dbt reports, by unique id.
        """
        kept = [one for model in models if (one := self._kept.get(model))]
        if not kept:
            return
        built = self._built
        with self._conn.cursor() as cursor:
            after = read_tables(cursor, [one.place for one in kept])
        now = {
            one.place: built_now(self._before.get(one.place), found, built.get(one.place) or one.declared)
            for one in kept
            if (found := after.get(one.place)) and found.kind in "rp"
        }
        new = {place: columns for place, columns in now.items() if built.get(place) != columns}
        if new:
            with transaction(self._connection, "cht_sync models", "note what was built") as cursor:
                BuiltModels(cursor, self._schema).record(new)
            built |= new
        if batches:
            with transaction(self._connection, "cht_sync models", "note which batches were built") as cursor:
                BuiltModels(cursor, self._schema).record_batches(
                    {self._kept[model].place: note for model, note in batches.items() if model in self._kept}
                )

    @cached_property
    def _built(self) -> dict[Place, Columns]:
        with transaction(self._connection, "cht_sync models", "read what was built") as cursor:
            return BuiltModels(cursor, self._schema).read()
