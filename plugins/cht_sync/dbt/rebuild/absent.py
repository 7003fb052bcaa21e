"""Models that no run has made yet: a rebuilt model cannot read them."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest, parents_of, reachable
from cht_sync.dbt.rebuild.manifest import RELATIONS, foreign_keys, models

_THERE = """
select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (n.nspname, c.relname) in %s and c.relkind in ('r', 'p', 'v', 'm')
"""


def absent_models(cursor: Cursor, manifest: Manifest) -> set[str]:
    """The models that have no relation though dbt makes one for them, by unique id."""
    made = {name: node for name, node in models(manifest).items() if node["config"]["materialized"] in RELATIONS}
    places = {name: (node["schema"], node["alias"]) for name, node in made.items()}
    if not places:
        return set()
    cursor.execute(_THERE, (tuple(places.values()),))
    there = set(cursor.fetchall())
    return {name for name, place in places.items() if place not in there}


def with_what_they_read(
    manifest: Manifest, why: Mapping[str, str], chosen: set[str], absent: set[str]
) -> dict[str, str]:
    """What to rebuild and why, so that nothing of it reads a relation that is not there.

    A model that is there needs those that it reads to be made with it. One that is not there itself is left to the next
    run of the models, which makes all of them in their order.

    :param why: reason by unique id.
    :param chosen: models that are run.
    """
    parents = _parents(manifest)
    found = dict(why)
    for name in [one for one in why if one in chosen and one not in absent]:
        for above in (_above(parents, name) & absent & chosen).difference(found):
            found[above] = f"not there yet, and {manifest['nodes'][name]['name']} reads it"
    needed = {above for name in found if name not in absent for above in _above(parents, name)}
    while left := {
        name for name in found if name in absent - needed and (_above(parents, name) & absent).difference(found)
    }:
        found = {name: text for name, text in found.items() if name not in left}
    return found


def _parents(manifest: Manifest) -> dict[str, set[str]]:
    """What each node reads, or points to by a foreign key."""
    nodes = models(manifest)
    places = {(node["schema"], node["alias"]): name for name, node in nodes.items()}
    parents = {name: set(read) for name, read in parents_of(manifest["nodes"]).items()}
    for name, node in nodes.items():
        pointed = (places.get((key.schema or node["schema"], key.table)) for key in foreign_keys(manifest, node))
        parents[name] |= {one for one in pointed if one and one != name}
    return parents


def _above(parents: Mapping[str, set[str]], name: str) -> set[str]:
    return set(reachable(parents.get(name, ()), parents))
