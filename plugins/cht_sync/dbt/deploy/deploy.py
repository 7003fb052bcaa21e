"""The steps of a deployment after the look: build, plan, switch. Each may be done again at any time."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.deploy.install import publish, stage
from cht_sync.dbt.deploy.look import OTHERS_CHOSEN, Goal, Wish
from cht_sync.dbt.deploy.removed import RemovedModels, readers
from cht_sync.dbt.deploy.validate import validate
from cht_sync.dbt.launch.resolved_selectors import settle, with_selections
from cht_sync.dbt.project.groups import chosen_models
from cht_sync.dbt.project.source import configured_source
from cht_sync.dbt.project.version import Deployment, is_current, kept
from cht_sync.dbt.rebuild.plan import RebuildPlan, plan_rebuild
from cht_sync.dbt.rebuild.rebuild import rebuild
from cht_sync.dbt.run.table_columns import note_rebuilt
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.dbt.tables.deployments import Deployments, Recorded
from cht_sync.errors import SettingsError
from cht_sync.forms.notices import FormNotice, form_notices
from cht_sync.forms.wanted import note_changes, prepared_forms, unreadable_forms, wanted_forms
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def build_version(settings: Settings, goal: Goal, wish: Wish) -> Goal | None:
    """Fetches, parses and validates the version, in a folder that nothing uses yet.

    :return: the goal with its folder; None where the download is what is in use already.
    :raises SettingsError: with git's, dbt's or Postgres's own words, if the version cannot be used.
    """
    made = _folder(settings, goal) if goal.folder else stage(settings, wish.force, prepared_forms(settings))
    settle(configured_source(settings), made, settings)
    if wish.run_unit_tests or not made.validated:
        validate(configured_source(settings), made, settings, wish.run_unit_tests)
        made = replace(made, validated=True)
        made.save()
    recorded = Recorded(goal.before)
    in_use = recorded.is_for(settings.dbt_groups, made.version) and is_current(settings, made)
    if in_use and not (wish.full_refresh or wish.drop_removed or goal.folder or goal.reason == OTHERS_CHOSEN):
        log.info("%s is in use already; nothing is rebuilt.", made.text)
        return None
    if not goal.folder and not wish.force and made.content == Deployments(settings).recorded().held:
        log.warning(
            "%s was rolled back from: blocked from redeployment until its source changes, or by force.", made.text
        )
        return None
    log.info("%s is built.", made.text)
    return replace(goal, folder=made.path.name)


def _folder(settings: Settings, goal: Goal) -> Deployment:
    found = next((one for one in kept(settings) if one.path.name == goal.folder), None)
    if found is None:
        raise SettingsError(
            f"Version {goal.folder} is not in CHT_PIPELINE_DIR={str(settings.pipeline_dir)!r} of this machine: let all"
            " machines share that folder, or trigger the DAG cht_pipeline_deploy again."
        )
    return found


def plan(settings: Settings, goal: Goal, wish: Wish) -> list[dict[str, Any]]:
    """Lists the models that would be rebuilt, and changes nothing.

    :return: for each model its name, its relation, the rows it has now (None where it is not there) and why.
    :raises SettingsError: if ``full_refresh`` names a model that does not exist.
    """
    made = _folder(settings, goal)
    plans = [part for _, part in _plans(settings, made, wish) if part]
    for warning in (each for part in plans for each in part.warnings):
        log.warning("%s", warning)
    models = [model for part in plans for model in part.models]
    for model in models:
        rows = "not there yet" if model.rows is None else f"{model.rows:,} rows"
        log.info("%s (%s, %s) is rebuilt: %s.", model.name, model.relation, rows, model.why)
    log.info("%s models are rebuilt for %s.", len(models), made.text)
    for notice in _notices(settings, made):
        log.info("%s.", notice.text)
    _name_removed(settings, made, wish, [relation for part in plans for relation in part.removed])
    return [
        {"model": model.name, "relation": str(model.relation), "rows": model.rows, "why": model.why} for model in models
    ]


def _notices(settings: Settings, made: Deployment) -> list[FormNotice]:
    """What the version changes in the tables of forms; asked before it is recorded."""
    manifests = Deployments(settings).manifests(settings.dbt_groups)
    before = next((each for each in manifests.values() if each), None)
    after = json.loads(made.manifest.read_text())
    return form_notices(wanted_forms(settings), unreadable_forms(settings), before, after)


def _name_removed(settings: Settings, made: Deployment, wish: Wish, gone: list[str]) -> None:
    manifest, chosen = json.loads(made.manifest.read_text()), _chosen(settings, made)
    removed, read = RemovedModels(settings), readers(manifest, chosen)
    if wish.drop_removed:
        for relation in removed.asked(wish.drop_removed):
            if names := read.get(relation):
                raise SettingsError(
                    f"Param drop_removed names {relation}, which {', '.join(names)} still reads; nothing was changed:"
                    " let DBT_SELECTOR choose neither, or both.",
                    "drop_removed",
                )
            log.warning("%s is of no model any more and is dropped.", relation)
        return
    unchosen = set(removed.unchosen(manifest, chosen))
    for relation in sorted({*removed.known(), *gone} - unchosen):
        log.warning("%s is of no model any more: nothing updates it. Param drop_removed drops it.", relation)
    for relation in sorted(unchosen):
        still = f", and {', '.join(read[relation])} reads it" if relation in read else ""
        log.warning(
            "%s is of a model that DBT_SELECTOR does not choose any more: nothing updates it%s. Param drop_removed"
            " drops it.",
            relation,
            still,
        )


def _chosen(settings: Settings, made: Deployment) -> set[str]:
    return chosen_models(with_selections(json.loads(made.graph.read_text()), made.path), settings)


def switch(settings: Settings, goal: Goal, wish: Wish, holder: str) -> dict[str, Any]:
    """Rebuilds what changed, records the version in the transaction that swaps the tables in, and publishes it.

    :param holder: who asks, shown to those who wait for the lock.
    :raises StoreError: if Postgres fails, or another deployment came in between; then nothing has changed.
    """
    made, deployments = _folder(settings, goal), Deployments(settings)
    before = Recorded(goal.before)
    deployments.require_unchanged(made, settings.dbt_groups, before)
    parts = list(_plans(settings, made, wish))
    reports: list[dict[str, Any]] = []
    removed, frozen, manifest = RemovedModels(settings), list[str](), json.loads(made.manifest.read_text())
    chosen = _chosen(settings, made)
    unchosen, notices = removed.unchosen(manifest, chosen), _notices(settings, made)
    for number, (groups, part) in enumerate(parts, 1):

        def in_swap(cursor: Cursor, groups: Sequence[str] = groups, part: RebuildPlan | None = part) -> None:
            deployments.record(cursor, made, groups, before, goal.held)
            if part and part.models:
                nodes = [manifest["nodes"][name] for name in part.unique_ids]
                note_rebuilt(cursor, settings.raw_table.schema, nodes)
            gone = part.removed if part else ()
            frozen[:] = removed.note(cursor, manifest, chosen, [*gone, *unchosen])

        def published(last: bool = number == len(parts)) -> None:
            if last:
                publish(settings, made)

        if part and part.models:
            reports.append(rebuild(settings, made.path, part, holder=holder, in_swap=in_swap, published=published))
        else:  # no table has to be rebuilt
            with schema_lock(settings, settings.dbt_schema, holder):
                with transaction(dbt_connection(settings), "cht_sync deployment", "record the deployment") as cursor:
                    in_swap(cursor)
                published()
    note_changes(settings, made.version, notices)
    log.info("%s is in use.", made.text)
    if dropped := removed.asked(wish.drop_removed) if wish.drop_removed else []:
        removed.drop(dropped, holder)
    left = [relation for relation in frozen if relation not in dropped]
    named = {"version": goal.folder, "source": made.source, "revision": made.revision}
    return {**named, "rebuilt": reports, "removed": left, "dropped": dropped}


def _plans(settings: Settings, made: Deployment, wish: Wish) -> Iterator[tuple[list[str], RebuildPlan | None]]:
    """A plan for all groups of models that come from one version; None where nothing can have changed."""
    deployments, groups = Deployments(settings), settings.dbt_groups
    versions, manifests = deployments.recorded().versions, deployments.manifests(groups)
    for version in dict.fromkeys(versions.get(models) for models in groups):
        ours = [models for models in groups if versions.get(models) == version]
        if version == made.version and not wish.full_refresh:
            yield ours, None
            continue
        state, selector = manifests[ours[0]], " ".join(ours)
        yield ours, plan_rebuild(settings, made.path, state, selector, wish.full_refresh or None)
