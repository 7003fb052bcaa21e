"""Brings the files of a dbt project into a new folder."""

from __future__ import annotations

from pathlib import Path

from cht_sync.dbt.project.content import NOT_COPIED, content_hash
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.tarball import download
from cht_sync.dbt.project.tree import copy_tree
from cht_sync.errors import SettingsError

PROJECT_FILE = "dbt_project.yml"


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
        require_project(source, Path(source.location))
        copy_tree(source, Path(source.location), folder, NOT_COPIED)
        revision = content_hash(folder, source)
    require_project(source, folder)
    return revision


def require_project(source: Source, folder: Path) -> None:
    """Checks that a folder holds a dbt project."""
    if not folder.is_dir():
        raise SettingsError(f"{source.text} cannot be installed: there is no such folder; look at DBT_LOCAL_PATH.")
    if not (folder / PROJECT_FILE).is_file():
        raise SettingsError(
            f"{source.text} cannot be installed: it holds no {PROJECT_FILE}, so it is not a dbt project."
        )
