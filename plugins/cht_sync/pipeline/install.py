"""Builds the configured dbt project beside the one in use, then switches to it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from airflow.sdk.log import mask_secret

from cht_sync.errors import SettingsError
from cht_sync.pipeline.build import build, wrapper_files
from cht_sync.pipeline.content import content_hash
from cht_sync.pipeline.deployment import CURRENT, RECORD_FILE, Deployment, installed
from cht_sync.pipeline.fetch import fetch, require_project
from cht_sync.pipeline.git import GitRepository
from cht_sync.pipeline.graph import FORM
from cht_sync.pipeline.hub import hub_answers, hub_url
from cht_sync.pipeline.source import Source, configured_source
from cht_sync.settings import Settings

log = logging.getLogger(__name__)

KEPT_VERSIONS = 3


def install(settings: Settings, force: bool = False) -> Deployment:
    """Installs the dbt project that the settings name, unless the very same one is in use already.

    One that was built without the dbt package hub is built again as soon as the hub answers.
    The new version is built in a folder of its own; the link ``current`` moves only when dbt has parsed it.

    :param settings: the environment.
    :param force: build again even if nothing changed.
    :returns: the version that is in use afterwards.
    :raises SettingsError: if the project cannot be fetched or parsed; then the version in use stays.
    """
    source = configured_source(settings)
    for secret in source.secrets:
        mask_secret(secret)
    with _one_at_a_time(settings.pipeline_dir):
        wanted = _wanted(source, settings)
        found = _in_use(settings)
        if found and not force and wanted.revision and _identity(found) == _identity(wanted) and not _mendable(found):
            return found
        made = _build_new(source, settings, wanted)
        mended = found and found.stand_ins and not made.stand_ins
        if found and not force and _identity(found) == _identity(made) and not mended:
            shutil.rmtree(made.path)
            return found
        _switch(settings.pipeline_dir, made.path)
        _remove_old(settings.pipeline_dir)
        return made


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    try:
        (folder / "versions").mkdir(parents=True, exist_ok=True)
        lock = (folder / "install.lock").open("w")
    except OSError as error:
        raise SettingsError(
            f"CHT_PIPELINE_DIR={str(folder)!r} cannot be used: {error.strerror}; name a folder that can be written to."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wanted(source: Source, settings: Settings) -> Deployment:
    """What would be installed; its revision is empty while only a download can tell."""
    revision = ""
    if source.kind == "git":
        revision = GitRepository(source).commit()
    elif source.kind != "tarball":
        require_project(source, Path(source.location))
        revision = content_hash(Path(source.location))
    folder = settings.pipeline_dir / "versions"
    return Deployment(
        path=folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        graph=folder,
        source=source.text,
        fingerprint=source.fingerprint,
        revision=revision,
        build=_build_key(settings),
        dbt_version=version("dbt-core"),
    )


def _build_key(settings: Settings) -> str:
    versions = {name: version(name) for name in ("dbt-core", "dbt-postgres")}
    wrapper = {str(path): hashlib.sha256(data).hexdigest() for path, data in wrapper_files()}
    key = json.dumps([settings.dbt_environment, versions, wrapper, FORM], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _identity(one: Deployment) -> tuple[str, str, str]:
    return one.fingerprint, one.revision, one.build


def _mendable(found: Deployment) -> bool:
    """Whether packages that the hub could not give when this version was built can be had now."""
    return bool(found.stand_ins) and hub_answers(hub_url())


def _in_use(settings: Settings) -> Deployment | None:
    try:
        return installed(settings)
    except SettingsError as error:
        log.warning("%s", error)
        return None


def _build_new(source: Source, settings: Settings, wanted: Deployment) -> Deployment:
    path = wanted.path
    try:
        path.mkdir()
        revision = fetch(source, path / "project", wanted.revision)
        built = build(source, path, settings)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = replace(wanted, graph=built.graph, revision=revision, installed_at=now)
        made = replace(made, models=built.models, stand_ins=built.stand_ins)
        # Last of all: a folder without its record is one that was never finished.
        made.save()
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return made


def _switch(folder: Path, path: Path) -> None:
    link = folder / f".{CURRENT}-{secrets.token_hex(3)}"
    link.symlink_to(path.relative_to(folder))
    os.replace(link, folder / CURRENT)


def _remove_old(folder: Path) -> None:
    """Tasks that began before the switch go on in their version, so the last ones stay."""
    in_use = (folder / CURRENT).resolve()
    versions = sorted((folder / "versions").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    finished = [path for path in versions if (path / RECORD_FILE).is_file() and path != in_use]
    keep = {in_use, *finished[: KEPT_VERSIONS - 1]}
    for path in set(versions) - keep:
        shutil.rmtree(path, ignore_errors=True)
