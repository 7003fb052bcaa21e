"""The first step of a deployment: is there something to deploy? It imports nothing that takes long."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field

from cht_sync.dbt.project.fetch import has_more_packages, latest_version
from cht_sync.dbt.project.version import Deployment, find, is_current, kept
from cht_sync.dbt.tables.deployments import Deployments, Recorded
from cht_sync.errors import SettingsError
from cht_sync.forms.wanted import wanted_forms
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
# The look has three seconds.
HUB_TIMEOUT_S = 1.0
OTHERS_CHOSEN = "DBT_SELECTOR chooses other models than before"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the Params of a deployment ask for.

    :param roll_back_to: a version that is kept: its folder's name or the start of its revision.
    :param full_refresh: models to rebuild in any case; ``all`` for all.
    :param force: build again although nothing changed, and deploy what was rolled back from.
    :param drop_removed: relations of models that the project has no longer, to be dropped; ``all`` for all.
    """

    roll_back_to: str = ""
    full_refresh: list[str] = field(default_factory=list)
    run_unit_tests: bool = False
    force: bool = False
    drop_removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a deployment is about; handed from task to task.

    :param before: version by group of models when the deployment began.
    :param held: what is rolled back from, as :attr:`Deployment.content`.
    :param folder: name of the version's folder, once it is there.
    """

    reason: str
    before: dict[str, str]
    held: str = ""
    folder: str = ""


def look(settings: Settings, wish: Wish) -> Goal | None:
    """Finds out without fetching anything whether there is something to deploy; None where there is not.

    :raises SettingsError: if the source cannot be read, or the version to roll back to is not kept.
    """
    deployments = Deployments(settings)
    deployments.prepare()
    recorded = deployments.recorded()
    if wish.drop_removed:
        # What it needs takes long to import.
        from cht_sync.dbt.deploy.removed import RemovedModels

        RemovedModels(settings).require_known(wish.drop_removed)
    if wish.roll_back_to:
        return _roll_back(settings, recorded, wish.roll_back_to)
    newest = latest_version(settings, wanted_forms(settings).content)
    if newest.content == recorded.held and not wish.force:
        log.warning(
            "%s was rolled back from: blocked from redeployment until its source changes, or by force.", _short(newest)
        )
        return _rest_of_roll_back(settings, recorded, newest, bool(wish.drop_removed))
    reason = _reason(settings, recorded, newest, wish)
    if reason is None:
        log.info("%s is in use already.", _short(newest))
        return None
    log.info("There is something to deploy: %s.", reason)
    return Goal(reason, recorded.versions)


def _short(version: Deployment) -> str:
    return f"{version.source} ({version.revision[:12] or 'not downloaded yet'})"


def _roll_back(settings: Settings, recorded: Recorded, name: str) -> Goal:
    there = kept(settings)
    chosen = next((one for one in there if one.path.name == name), None)
    chosen = chosen or next((one for one in there if len(name) >= 7 and one.revision.startswith(name)), None)
    if chosen is None:
        raise SettingsError(
            f"Param roll_back_to={name!r} names no version that is kept in {settings.pipeline_dir}:"
            f" {'; '.join(one.text for one in there) or 'there is none'}."
        )
    in_use = recorded.version(settings.dbt_groups) or ""
    held = recorded.held or in_use.rpartition("-")[0]
    log.info("Rolling back to %s.", chosen.text)
    held = "" if chosen.content == held else held
    return Goal(f"roll back to {chosen.text}", recorded.versions, held, chosen.path.name)


def _rest_of_roll_back(settings: Settings, recorded: Recorded, newest: Deployment, asked: bool) -> Goal | None:
    """What is left to do of a roll-back that was cut off; None where it is complete and nothing else is asked for."""
    groups = settings.dbt_groups
    found = find(settings, recorded.version(groups))
    if found is None:
        raise SettingsError(
            f"{_short(newest)} was rolled back from, and the version that was rolled back to is not kept in"
            f" {settings.pipeline_dir}: trigger the DAG cht_pipeline_deploy with force to deploy the newest one."
        )
    if recorded.is_for(groups, found.version) and is_current(settings, found) and not asked:
        return None
    return Goal(f"roll back to {found.text}", recorded.versions, recorded.held, found.path.name)


def _reason(settings: Settings, recorded: Recorded, newest: Deployment, wish: Wish) -> str | None:
    asked = [name for name in ("force", "full_refresh", "run_unit_tests", "drop_removed") if getattr(wish, name)]
    if asked:
        return f"param {' and '.join(asked)}"
    groups = settings.dbt_groups
    in_use = recorded.version(groups)
    found = find(settings, newest.version if newest.revision else in_use)
    if not newest.revision and (found is None or _is_other_download(found, newest)):
        return f"{newest.source} may have changed, which only a download can tell"
    if found is None:
        return f"{_short(newest)} in place of {in_use or 'nothing'}"
    if not (tables := recorded.is_for(groups, found.version)) or not is_current(settings, found):
        what = "not what this machine uses yet" if tables else "built, and the tables do not come from it yet"
        return f"{found.text} is {what}"
    if has_more_packages(found, HUB_TIMEOUT_S):
        return "packages of the dbt hub can be had now"
    # Only where groups of another DBT_SELECTOR were deployed before.
    return OTHERS_CHOSEN if set(recorded.versions) - set(groups) and _others_chosen(settings, found) else None


def _others_chosen(settings: Settings, found: Deployment) -> bool:
    """Whether tables would be named that no run updates any more, or are named although runs update them again."""
    from cht_sync.dbt.deploy.removed import RemovedModels
    from cht_sync.dbt.launch.resolved_selectors import with_selections
    from cht_sync.dbt.project.groups import chosen_models

    try:
        chosen = chosen_models(with_selections(json.loads(found.graph.read_text()), found.path), settings)
    except SettingsError:
        return False  # the deployment of that version has said it, or its task does
    return RemovedModels(settings).differs(json.loads(found.manifest.read_text()), chosen)


def _is_other_download(found: Deployment, newest: Deployment) -> bool:
    place = (found.fingerprint, found.build) != (newest.fingerprint, newest.build)
    return place or not newest.validator or found.validator != newest.validator
