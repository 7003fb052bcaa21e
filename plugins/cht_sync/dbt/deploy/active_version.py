"""Which version of the dbt project a run of the models uses."""

from __future__ import annotations

import logging
from pathlib import Path

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.project.content import content_hash
from cht_sync.dbt.project.source import STARTER, configured_source
from cht_sync.dbt.project.version import Deployment, find, require_configured, require_current
from cht_sync.dbt.tables.deployments import Deployments
from cht_sync.errors import SettingsError, StoreError
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def expected_version(settings: Settings) -> str:
    """The version that the next run of the models uses.

    It is the one that the tables were deployed from where it is kept on this machine, else the installed one.

    :raises SettingsError: if no project is installed, or nothing is deployed to this database yet and the installed
        project is another one than the settings name.
    """
    recorded = Deployments(settings).recorded().version(settings.dbt_groups)
    found = find(settings, recorded) if recorded else None
    if found is None:
        found = require_current(settings) if recorded else require_configured(settings)
    _warn_of_pending_deployment(settings, found)
    return found.version


def project_folder(settings: Settings, expected: str = "") -> Path:
    """The folder to run dbt in; called while the schema is locked, so that no deployment comes in between.

    The version is the one that the tables come from, although a deployment may have switched to it since the run
    began: an older project must not write into the tables of a newer one. What builds the first models of all is
    recorded. The starter is installed here where nothing is.

    :param expected: what :func:`expected_version` said when the run began.
    :raises SettingsError: if another project is to be installed first.
    """
    deployments, groups = Deployments(settings), settings.dbt_groups
    recorded = deployments.recorded().version(groups)
    found = find(settings, recorded) if recorded else find(settings, expected)
    if found is None:
        found = require_current(settings) if recorded else require_configured(settings)
        if not found.installed:
            found = install(settings)
        if recorded:
            log.warning(
                "The models were deployed from version %s, which is not kept in %s: %s is used until the DAG"
                " cht_pipeline_deploy has run; let all machines share that folder.",
                recorded,
                settings.pipeline_dir,
                found.text,
            )
    elif recorded and expected and recorded != expected:
        log.info("A deployment came in between: dbt runs in %s.", found.text)
    if not recorded and deployments.record_first(found, groups):
        log.info("The first models come from %s.", found.text)
    return found.path


def _warn_of_pending_deployment(settings: Settings, found: Deployment) -> None:
    source = configured_source(settings)
    newer = source.kind == "starter" and found.revision != content_hash(STARTER)
    if newer or found.fingerprint != source.fingerprint:
        log.warning(
            "dbt runs in %s until the DAG cht_pipeline_deploy has deployed %s: is it paused, or does it fail?",
            found.text,
            "the starter models of this release" if newer else source.text,
        )


def deployed_version(settings: Settings) -> Deployment | None:
    """The version that the tables were deployed from, where it is kept here; None also where no database answers."""
    try:
        recorded = Deployments(settings).recorded().version(settings.dbt_groups)
    except (SettingsError, StoreError) as error:
        log.info("No database can be asked what is deployed: %s", error)
        return None
    return find(settings, recorded) if recorded else None
