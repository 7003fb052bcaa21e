"""Which models a deployment has to rebuild."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.launch.resolved_selectors import with_selections
from cht_sync.dbt.project.graph import drawable
from cht_sync.dbt.project.lineage import COMPARING, STARTER_PACKAGE
from cht_sync.dbt.project.manifest import Manifest, Node, parents_of, reachable
from cht_sync.dbt.project.selection import selected
from cht_sync.dbt.rebuild.constraints import missing_by_model
from cht_sync.dbt.rebuild.dbt_process import DbtProcess
from cht_sync.dbt.rebuild.manifest import (
    RELATIONS,
    constraint_texts,
    descendants,
    foreign_keys,
    models,
    read_manifest,
    staging_schema,
    tables,
)
from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import regclass_text
from cht_sync.postgres.lookups import relation_exists, value_of
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

ALL = "all"
COUNT_WITHIN = "60s"
# The starter says `full_refresh: false` lest dbt drops what dashboards read; nothing is dropped early here.
KEPT = (
    ": its rows keep what they hold, a new column is null in them, and one of another type makes it fail; without that"
    " setting it is rebuilt"
)
_THERE = """
select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (n.nspname, c.relname) in %s and c.relkind in ('r', 'p', 'v', 'm')
"""
_ESTIMATE = "select reltuples::bigint from pg_class where oid = to_regclass(%s) and reltuples >= 0"


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model to rebuild.

    :param relation: its ``schema.name``.
    :param rows: rows it has now; None where it is not there.
    """

    unique_id: str
    name: str
    relation: str
    rows: int | None
    why: str


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a deployment has to rebuild.

    :param models: the models, parents first.
    :param removed: relations of models that the project has no longer; they stay.
    :param given_up: constraints that the project declared and declares no longer: foreign keys as
        ``relation (columns)``, others as ``relation: kind (columns)``.
    """

    models: tuple[PlannedModel, ...] = ()
    removed: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def unique_ids(self) -> list[str]:
        """Of the models."""
        return [model.unique_id for model in self.models]


def plan_rebuild(
    settings: Settings, folder: Path, state: Manifest | None, selector: str, full_refresh: Sequence[str] | None = None
) -> RebuildPlan:
    """Finds the models that a deployment has to rebuild, with all downstream models.

    dbt itself tells what differs from the last deployment.
    Source: https://docs.getdbt.com/reference/node-selection/state-selection

    :param state: manifest of the last successful deployment; None where nothing is known, then nothing is modified.
    :param selector: which models are run, as ``DBT_SELECTOR``; empty for all.
    :param full_refresh: names of models to rebuild in any case, or ``["all"]``.
    :raises SettingsError: if a name is unknown.
    :raises RebuildError: if dbt fails.
    """
    manifest = read_manifest(folder)
    chosen = _chosen(manifest, folder, selector)
    why = dict(_asked(manifest, chosen, full_refresh or ()))
    warnings: list[str] = []
    with transaction(dbt_connection(settings), "cht_sync plan", "look at the models") as cursor:
        if state is not None:
            with DbtProcess(settings, folder, staging_schema(settings.dbt_schema)) as dbt:
                differing = dbt.modified(state)
            if unreadable := differing.get("unreadable"):
                warnings.append(
                    f"The manifest of the last deployment cannot be read by this dbt ({unreadable}): no"
                    " model counts as modified; where one is, name it in full_refresh."
                )
                state = None
            for name in differing.get("modified", ()):
                why.setdefault(name, "modified")
        for name, lines in missing_by_model(cursor, manifest, chosen).items():
            if state is None and name not in why:
                warnings += [f"{line} is declared and missing: name the model in full_refresh." for line in lines]
            else:
                why.setdefault(name, f"lacks a constraint: {lines[0]}")
        for name in descendants(manifest, why):
            why.setdefault(name, "hangs from one of these")
        kept = {name for name in why if _is_kept(manifest["nodes"].get(name, {}))}
        warnings += [f"{name} says full_refresh: false and stays as it is{KEPT}." for name in sorted(kept & chosen)]
        asked, why = why, with_what_they_read(manifest, why, chosen, absent_models(cursor, manifest))
        for name in sorted((set(asked) & chosen & set(models(manifest))).difference(why)):
            log.info("%s is not there yet, and reads what is not there: the next run of the models makes it.", name)
        members = (set(why) & chosen & set(models(manifest))) - kept
        # After the downstream models: a table that comes for the first time changes nothing of what reads it.
        for name in _not_there(cursor, manifest, chosen, members):
            why[name] = "not there yet"
            members.add(name)
        planned = [_planned(cursor, manifest["nodes"][name], why[name]) for name in _in_order(manifest, members)]
        removed = tuple(sorted(_removed(cursor, manifest, state)))
    for line in warnings:
        log.warning("%s", line)
    given_up = tuple(_given_up(manifest, members, state)) if state else ()
    return RebuildPlan(tuple(planned), removed, given_up, tuple(warnings))


def _chosen(manifest: Manifest, folder: Path, selector: str) -> set[str]:
    """The models that are run, and the seeds that they read, also through others; all seeds where all are run."""
    chosen = selected(with_selections(drawable(manifest), folder), selector)
    seeds = {name for name, node in manifest["nodes"].items() if node["resource_type"] == "seed"}
    return chosen | (seeds.intersection(reachable(chosen, parents_of(manifest["nodes"]))) if selector else seeds)


def _not_there(cursor: Cursor, manifest: Manifest, chosen: set[str], members: set[str]) -> Iterator[str]:
    """Seeds that have to be loaded, and snapshots without which a model cannot be rebuilt."""
    nodes = manifest["nodes"]
    direct = {parent for name in members for parent in nodes[name].get("depends_on", {}).get("nodes", ())}
    wanted = {name for name in chosen if nodes[name]["resource_type"] == "seed"}
    wanted |= {name for name in direct if nodes.get(name, {}).get("resource_type") == "snapshot"}
    for name in sorted(wanted - members):
        if not relation_exists(cursor, nodes[name]["schema"], nodes[name]["alias"]):
            yield name


def _asked(manifest: Manifest, chosen: set[str], full_refresh: Sequence[str]) -> Iterator[tuple[str, str]]:
    by_name: dict[str, list[str]] = {}
    for unique_id, node in models(manifest).items():
        by_name.setdefault(node["name"], []).append(unique_id)
    for name in full_refresh:
        found = chosen if name == ALL else {one for one in by_name.get(name.rstrip("+"), ()) if one in chosen}
        if not found:
            raise SettingsError(
                f"full_refresh names {name!r}, which is no model that is run: use names such as"
                f" {', '.join(sorted(by_name)[:3])}, or 'all'.",
                "full_refresh",
            )
        yield from ((unique_id, "asked for") for unique_id in sorted(found))


def _is_kept(node: Node) -> bool:
    """Whether a model says that it must never be rebuilt.

    Of models upon the starter that means no more than of the starter's own.
    Source: https://docs.getdbt.com/reference/resource-configs/full_refresh
    """
    config = node.get("config", {})
    if config.get("full_refresh") is not False or node["package_name"] in COMPARING:
        return False
    macros = node.get("depends_on", {}).get("macros", ())
    upon_starter = any(name.startswith(f"macro.{STARTER_PACKAGE}.") for name in macros)
    return not (upon_starter and config.get("incremental_strategy") == "upsert")


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


def _in_order(manifest: Manifest, members: set[str]) -> list[str]:
    """Parents first, and by name."""
    from networkx import DiGraph, dfs_postorder_nodes  # it takes long to import

    parents = parents_of(manifest["nodes"])
    graph = DiGraph({name: sorted(parents.get(name, ())) for name in [*sorted(members), *parents]})
    return [name for name in dfs_postorder_nodes(graph) if name in members]


def _planned(cursor: Cursor, node: Node, why: str) -> PlannedModel:
    schema, name = node["schema"], node["alias"]
    return PlannedModel(node["unique_id"], node["name"], f"{schema}.{name}", _rows(cursor, schema, name), why)


def _rows(cursor: Cursor, schema: str, name: str) -> int | None:
    if not relation_exists(cursor, schema, name):
        return None
    cursor.execute("savepoint counting")
    try:
        cursor.execute("set local statement_timeout = %s", (COUNT_WITHIN,))
        return value_of(cursor, sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name)))
    except psycopg2.errors.QueryCanceled:
        cursor.execute("rollback to savepoint counting")
        return value_of(cursor, _ESTIMATE, (regclass_text(schema, name),)) or 0


def _removed(cursor: Cursor, manifest: Manifest, state: Manifest | None) -> Iterator[str]:
    relations = {(node["schema"], node["alias"]) for node in tables(manifest).values()}
    for node in tables(state).values() if state else ():
        place = (node["schema"], node["alias"])
        if place not in relations and relation_exists(cursor, *place):
            yield ".".join(place)


def _given_up(manifest: Manifest, members: set[str], state: Manifest) -> Iterator[str]:
    for name in sorted(members.intersection(state["nodes"])):
        before, node = state["nodes"][name], manifest["nodes"][name]
        place, now = f"{before['schema']}.{before['alias']}", {key.columns for key in foreign_keys(manifest, node)}
        gone = [key.columns for key in foreign_keys(state, before) if key.columns not in now]
        yield from (f"{place} ({', '.join(names)})" for names in gone)
        yield from sorted(constraint_texts(before) - constraint_texts(node))
