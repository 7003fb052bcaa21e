"""Builds the configured dbt project beside the one in use, then switches to it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cht_sync.dbt.deploy.build import build
from cht_sync.dbt.launch.resolved_selectors import settle
from cht_sync.dbt.project.fetch import fetch, has_more_packages, latest_version
from cht_sync.dbt.project.source import configured_source
from cht_sync.dbt.project.version import CURRENT, GRAPH_FILE, RECORD_FILE, VERSIONS, Deployment, find
from cht_sync.errors import SettingsError
from cht_sync.forms.form_models import FormModels
from cht_sync.settings.settings import Settings

KEPT_VERSIONS = 3


def install(settings: Settings, force: bool = False) -> Deployment:
    """Installs the dbt project that the settings name; rebuilding tables is left to the DAG ``cht_pipeline_deploy``.

    :param force: build again even if nothing changed.
    :raises SettingsError: if the project cannot be fetched or parsed; then the version in use stays.
    """
    made = stage(settings, force)
    settle(configured_source(settings), made, settings)
    publish(settings, made)
    return made


def fresh_graph() -> str:
    """The text that ``include/dbt/starter_manifest.json`` must have, from the starter as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        return install(Settings({"CHT_PIPELINE_DIR": folder})).graph.read_text()


def stage(settings: Settings, force: bool = False, forms: FormModels | None = None) -> Deployment:
    """Builds the project that the settings name in a folder of its own, which nothing uses until :func:`publish`.

    Where that version is there already it is taken, unless it was built without the dbt package hub, which answers now.

    :param forms: the models of forms to build with it.
    """
    with _one_at_a_time(settings.pipeline_dir):
        goal = latest_version(settings, forms.content if forms else "")
        found = find(settings, goal.version) if goal.revision else None
        if found and not force and not has_more_packages(found):
            return found
        return _build_new(settings, goal, force, forms)


def publish(settings: Settings, deployment: Deployment) -> None:
    """Lets ``current`` point to a built version, in one step, and removes versions that nobody needs any more."""
    folder = settings.pipeline_dir
    link = folder / CURRENT
    before = link.resolve() if link.is_symlink() else None
    if before != deployment.path.resolve():
        fresh = folder / f".{CURRENT}-{secrets.token_hex(3)}"
        fresh.symlink_to(deployment.path.relative_to(folder))
        os.replace(fresh, link)
        if before:
            # From now on its age counts: see _remove_old().
            with suppress(OSError):
                os.utime(before)
    with suppress(BlockingIOError), _one_at_a_time(folder, wait=False):
        _remove_old(folder, settings.models_timeout * 60)


@contextmanager
def _one_at_a_time(folder: Path, wait: bool = True) -> Iterator[None]:
    try:
        (folder / VERSIONS).mkdir(parents=True, exist_ok=True)
        lock = (folder / "install.lock").open("w")
    except OSError as error:
        raise SettingsError(
            f"CHT_PIPELINE_DIR={str(folder)!r} cannot be used: {error.strerror}; name a folder that can be written to."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _build_new(settings: Settings, goal: Deployment, force: bool, forms: FormModels | None) -> Deployment:
    source, path = configured_source(settings), goal.path
    try:
        path.mkdir()
        made = replace(goal, revision=fetch(source, path / "project", goal.revision))
        found = find(settings, made.version)
        if found and not force and not has_more_packages(found):
            return _instead(found, made)
        models, stand_ins = build(source, path, settings, forms)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        made = replace(made, graph=path / GRAPH_FILE, installed_at=now, models=models, stand_ins=stand_ins)
        if found and not force and stand_ins:
            return _instead(found, made)
        # Last of all: a folder without its record is one that was never finished.
        made.save()
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return made


def _instead(found: Deployment, made: Deployment) -> Deployment:
    """The version that is there already, in place of the same one that was fetched or built again."""
    shutil.rmtree(made.path)
    if made.validator != found.validator:
        found = replace(found, validator=made.validator)
        found.save()
    return found


def _remove_old(folder: Path, young_s: float) -> None:
    """Keeps the version in use, the last ones before it, and each that a run may still be using."""
    in_use = (folder / CURRENT).resolve()
    versions = sorted((folder / VERSIONS).iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    finished = [path for path in versions if (path / RECORD_FILE).is_file() and path != in_use]
    young = {path for path in finished if time.time() - path.stat().st_mtime < young_s}
    keep = {in_use, *finished[: KEPT_VERSIONS - 1], *young}
    for path in set(versions) - keep:
        shutil.rmtree(path, ignore_errors=True)
