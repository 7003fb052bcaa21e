"""Finds out what the settings name as the source of a dbt project, and brings its files into a new folder."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from airflow.sdk.log import mask_secret

from cht_sync.dbt.project.content import NOT_COPIED, build_key, content_hash
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.hub import PROBE_TIMEOUT_S, hub_answers, hub_url
from cht_sync.dbt.project.packages import PROJECT_FILE
from cht_sync.dbt.project.source import Source, configured_source
from cht_sync.dbt.project.tarball import download
from cht_sync.dbt.project.tarball import validator as tarball_validator
from cht_sync.dbt.project.tree import copy_tree
from cht_sync.dbt.project.version import VERSIONS, Deployment
from cht_sync.settings.settings import Settings


def latest_version(settings: Settings, forms: str = "") -> Deployment:
    """The version that the settings name as its source is now; its revision is empty where only a download can tell.

    :param forms: hash of the models of forms that belong to it; empty for none.
    :raises SettingsError: if the source cannot be read.
    """
    source = configured_source(settings)
    for secret in source.secrets:
        mask_secret(secret)
    revision = validator = ""
    if source.kind == "git":
        revision = GitRepository(source).commit()
    elif source.kind == "tarball":
        validator = tarball_validator(source)
    else:
        _require_project(source, Path(source.location))
        revision = content_hash(Path(source.location), source)
    folder = settings.pipeline_dir / VERSIONS
    return Deployment(
        path=folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        graph=folder,
        source=source.text,
        fingerprint=source.fingerprint,
        revision=revision,
        build=build_key(settings, forms),
        dbt_version=version("dbt-core"),
        validator=validator,
    )


def has_more_packages(found: Deployment, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether packages that the hub could not give when a version was built can be had now."""
    return bool(found.stand_ins) and hub_answers(hub_url(), timeout_s)


def fetch(source: Source, folder: Path, commit: str = "") -> str:
    """Writes the project into a folder that does not exist yet; returns the commit, or a hash of the files.

    :param commit: for a git repository, what :meth:`GitRepository.commit` gave.
    :raises SettingsError: if there is no dbt project to be had.
    """
    if source.kind == "git":
        revision = GitRepository(source).checkout(commit, folder)
    elif source.kind == "tarball":
        download(source, folder, PROJECT_FILE)
        revision = content_hash(folder, source)
    else:
        _require_project(source, Path(source.location))
        copy_tree(source, Path(source.location), folder, NOT_COPIED)
        revision = content_hash(folder, source)
    _require_project(source, folder)
    return revision


def _require_project(source: Source, folder: Path) -> None:
    """Checks that a folder holds a dbt project."""
    if not folder.is_dir():
        raise source.refusal("there is no such folder; look at DBT_LOCAL_PATH")
    if not (folder / PROJECT_FILE).is_file():
        raise source.refusal(f"it holds no {PROJECT_FILE}, so it is not a dbt project")
