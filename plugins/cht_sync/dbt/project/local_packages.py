"""Packages that a project names by a path, which dbt would look for beside the wrapper project."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import yaml

from cht_sync.dbt.project.content import NOT_COPIED
from cht_sync.dbt.project.packages import small_text
from cht_sync.dbt.project.source import STARTER, Source
from cht_sync.errors import SettingsError

PACKAGE_FILES = ("packages.yml", "dependencies.yml")
PROJECT = "project"
STARTER_PATH = "include/dbt/starter"


def settle_local_packages(source: Source, folder: Path) -> None:
    """Lets each path lead where it leads in the project itself, which is in ``project/``; copies the starter if named.

    dbt takes a path from the folder of the root project, also in packages of packages, and that is the wrapper here.
    Source: https://docs.getdbt.com/docs/build/packages#local-packages

    :raises SettingsError: if a path leads to no package of the project.
    """
    for file in _package_files(folder / PROJECT):
        text = small_text(source, file).decode(errors="surrogateescape")
        for path in _local_paths(text):
            settled = _settled(source, folder, file.name, path)
            text = _renamed(text, path, settled)
        file.write_bytes(text.encode(errors="surrogateescape"))


def _package_files(project: Path) -> Iterator[Path]:
    for name in PACKAGE_FILES:
        for file in sorted(project.rglob(name)):
            inside = file.relative_to(project).parts
            if file.is_file() and not set(inside).intersection(NOT_COPIED):
                yield file


def _local_paths(text: str) -> list[str]:
    try:
        packages = (yaml.safe_load(text) or {}).get("packages") or []
        paths = [str(entry["local"]) for entry in packages if isinstance(entry, dict) and entry.get("local")]
    except (yaml.YAMLError, AttributeError, TypeError):
        # dbt has a better message for a broken file, and reads it next.
        return []
    return [path for path in paths if not path.startswith(("/", "~")) and "{{" not in path]


def _renamed(text: str, path: str, settled: str) -> str:
    named = re.compile(rf"""(\blocal["']?\s*:\s*)(["']?){re.escape(path)}\2(?=[\s,}}]|$)""")
    return named.sub(lambda found: f"{found[1]}{found[2]}{settled}{found[2]}", text)


def _settled(source: Source, folder: Path, file: str, path: str) -> str:
    project = (folder / PROJECT).resolve()
    inside = (project / path).resolve()
    if inside.is_dir() and inside.is_relative_to(project):
        return PurePosixPath(PROJECT, inside.relative_to(project)).as_posix()
    if PurePosixPath(path).as_posix() == STARTER_PATH:
        if not (folder / STARTER_PATH).exists():
            shutil.copytree(STARTER, folder / STARTER_PATH, ignore=shutil.ignore_patterns(*NOT_COPIED))
        return path
    if PurePosixPath(path).parts[:1] == (PROJECT,) and (folder / path).resolve().is_relative_to(project):
        return path
    raise SettingsError(
        f"{source.text} cannot be installed: its {file} names the local package {path!r}, which is not a folder of the"
        f" project: put it there, name its git address, or say {STARTER_PATH!r} for the starter"
        " models."
    )
