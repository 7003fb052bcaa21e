"""Tables that the starter and the wrapper project keep of their own, which a rebuild has to follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from psycopg2 import sql

from cht_sync.dbt.project.manifest import Manifest
from cht_sync.dbt.rebuild.manifest import models

TABLE = "dbt_progress"
EDITED = "cht_edited_keys"


def move_progress(cursor: Any, manifest: Manifest, built: Collection[str], schemas: Mapping[str, str]) -> None:
    """Takes over how far models have come that were built aside with all that they read.

    Of the others nothing is known then, so that the next run compares them with everything once.

    :param cursor: in the transaction of the swap.
    :param manifest: of the project.
    :param built: unique ids of the models.
    :param schemas: the schema aside for each schema of a model.
    """
    nodes = {name: node for name, node in models(manifest).items() if node["resource_type"] == "model"}
    built = [name for name in built if name in nodes]
    complete = {
        nodes[name]["alias"]
        for name in built
        if all(one in built for one in nodes[name]["depends_on"]["nodes"] if one in nodes)
    }
    for schema, aside in schemas.items():
        live, there = sql.Identifier(schema, TABLE), sql.Identifier(aside, TABLE)
        if not _exists(cursor, live):
            continue
        names = [nodes[name]["alias"] for name in built]
        cursor.execute(sql.SQL("delete from {} where model = any(%s)").format(live), (names,))
        if _exists(cursor, there):
            take = sql.SQL("insert into {} select * from {} where model = any(%s)").format(live, there)
            cursor.execute(take, (list(complete),))


def move_edited_keys(cursor: Any, manifest: Manifest, built: Collection[str], schemas: Mapping[str, str]) -> None:
    """Takes over which rows of the new tables hang on rows that were edited while they were built aside.

    What was noted of the tables before goes with them. The next run of the models takes away those rows that it does
    not write anew. Source: include/dbt/wrapper/macros/edited_rows.sql.

    :param cursor: in the transaction of the swap.
    :param manifest: of the project.
    :param built: unique ids of the models.
    :param schemas: the schema aside for each schema of a model.
    """
    nodes, places = models(manifest), {aside: schema for schema, aside in schemas.items()}
    relations = tuple((nodes[name]["schema"], nodes[name]["alias"]) for name in built)
    for schema, aside in schemas.items():
        live, there = sql.Identifier(schema, EDITED), sql.Identifier(aside, EDITED)
        if relations and _exists(cursor, live):
            cursor.execute(sql.SQL("delete from {} where (child_schema, child) in %s").format(live), (relations,))
        if not _exists(cursor, there):
            continue
        move = sql.SQL("update {} set child_schema = %s where child_schema = %s").format(there)
        for place, live_place in places.items():
            cursor.execute(move, (live_place, place))
        if _exists(cursor, live):
            cursor.execute(sql.SQL("insert into {} select * from {}").format(live, there))
        else:
            cursor.execute(sql.SQL("alter table {} set schema {}").format(there, sql.Identifier(schema)))


def _exists(cursor: Any, table: sql.Identifier) -> bool:
    cursor.execute("select to_regclass(%s) is not null", (table.as_string(cursor),))
    return bool(cursor.fetchone()[0])
