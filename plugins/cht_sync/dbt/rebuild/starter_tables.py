"""Tables that the starter and the wrapper project keep of their own, which a rebuild has to follow.

``built`` are unique ids of the models, ``schemas`` the staging schema for each schema of a model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest
from cht_sync.dbt.rebuild.manifest import models
from cht_sync.postgres.lookups import relation_exists

TABLE = "dbt_progress"
EDITED = "cht_edited_keys"


def move_progress(cursor: Cursor, manifest: Manifest, built: Collection[str], schemas: Mapping[str, str]) -> None:
    """Takes over how far models have come that were built with all that they read.

    Of the others nothing is known then, so that the next run compares them with everything once.
    """
    nodes = {name: node for name, node in models(manifest).items() if node["resource_type"] == "model"}
    ours = {name: node for name, node in nodes.items() if name in built}
    names = [node["alias"] for node in ours.values()]
    complete = [
        node["alias"] for node in ours.values() if ours.keys() >= nodes.keys() & set(node["depends_on"]["nodes"])
    ]
    for schema, staging in schemas.items():
        live, there = sql.Identifier(schema, TABLE), sql.Identifier(staging, TABLE)
        if not relation_exists(cursor, schema, TABLE):
            continue
        cursor.execute(sql.SQL("delete from {} where model = any(%s)").format(live), (names,))
        if relation_exists(cursor, staging, TABLE):
            take = sql.SQL("insert into {} select * from {} where model = any(%s)").format(live, there)
            cursor.execute(take, (complete,))


def move_edited_keys(cursor: Cursor, manifest: Manifest, built: Collection[str], schemas: Mapping[str, str]) -> None:
    """Takes over which rows of the new tables depend on rows that were edited while they were built.

    What was noted of the tables before goes with them. The next run of the models takes away those rows that it does
    not write again. Source: include/dbt/wrapper/macros/edited_rows.sql.
    """
    nodes = models(manifest)
    relations = tuple((nodes[name]["schema"], nodes[name]["alias"]) for name in built)
    for schema, staging in schemas.items():
        live, there = sql.Identifier(schema, EDITED), sql.Identifier(staging, EDITED)
        is_live = relation_exists(cursor, schema, EDITED)
        if relations and is_live:
            cursor.execute(sql.SQL("delete from {} where (child_schema, child) in %s").format(live), (relations,))
        if not relation_exists(cursor, staging, EDITED):
            continue
        move = sql.SQL("update {} set child_schema = %s where child_schema = %s").format(there)
        for each in schemas.items():
            cursor.execute(move, each)
        if is_live:
            cursor.execute(sql.SQL("insert into {} select * from {}").format(live, there))
        else:
            cursor.execute(sql.SQL("alter table {} set schema {}").format(there, sql.Identifier(schema)))
