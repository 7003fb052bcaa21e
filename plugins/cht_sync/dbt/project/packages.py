"""The packages of a project: those that it names by a path, and all as ``dbt deps`` left them, before dbt reads any."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cht_sync.dbt.project.content import NOT_COPIED
from cht_sync.dbt.project.source import STARTER, Source
from cht_sync.dbt.project.tree import require_inside

INSTALLED = "dbt_packages"
PROJECT_FILE = "dbt_project.yml"
# Of a file that names folders and variables; real ones have a few kilobytes.
MOST_YAML = 2**20
# A package says them in vain: dbt looks at those of the root project alone.
OF_ROOT_ALONE = {"target-path", "log-path", "packages-install-path"}
# What becomes a relation of the same name, by its kind.
RELATION_FILES = {"model": {".sql", ".py"}, "seed": {".csv"}, "snapshot": {".sql"}}
JINJA = ("{{", "{%", "{#")
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
    raise source.refusal(
        f"its {file} names the local package {path!r}, which is not a folder of the project: put it there, name its git"
        f" address, or say {STARTER_PATH!r} for the starter models"
    )


def installed_packages(folder: Path) -> list[Path]:
    """The folders of the packages of a version, in order."""
    return sorted((folder / INSTALLED).iterdir()) if (folder / INSTALLED).is_dir() else []


def require_sound(source: Source, folder: Path) -> None:
    """Checks that nothing in a version leads out of it, neither a link nor a folder that a project names.

    :param folder: the version: wrapper project, package, and packages of the package.
    """
    packages = installed_packages(folder)
    for package in packages:
        if package.is_symlink() and not package.resolve().is_relative_to(folder.resolve()):
            raise source.refusal(
                f"package {package.name!r} is local, in {str(package.resolve())!r}, which is not in the project: move"
                " it there, or list it with git or tarball"
            )
        # Of no use any more: its config may hold a password, its objects count.
        if not package.is_symlink() and (package / ".git").is_dir():
            shutil.rmtree(package / ".git")
    require_inside(source, folder, folder)
    for project in (folder / PROJECT, *packages):
        file = f"{PROJECT_FILE} of {project.name!r}"
        for key, path in _folders(source, project):
            if any(sign in path for sign in JINJA):
                if key not in OF_ROOT_ALONE:
                    # What it comes to may be another place the next time.
                    raise source.refusal(f"{file} has Jinja in {key}: {path!r}; write the folder itself")
            elif posixpath.isabs(path) or posixpath.normpath(path).split("/")[0] == "..":
                raise source.refusal(f"{file} has {key}: {path!r}, which is not in the project; name a folder in it")


def _folders(source: Source, project: Path) -> Iterator[tuple[str, str]]:
    """What a project names as its folders, key by key."""
    for key, value in read_yaml(source, project / PROJECT_FILE).items():
        # dbt takes both forms.
        name = str(key).replace("_", "-")
        if name.endswith(("-path", "-paths")):
            paths = value if isinstance(value, list) else [value]
            yield from ((name, path) for path in paths if isinstance(path, str))


def model_names(source: Source, folder: Path) -> set[str]:
    """Names of the models, seeds and snapshots of a version: of its project and of all packages, as files name them."""
    names: set[str] = set()
    for project in (folder / PROJECT, *installed_packages(folder)):
        settings = read_yaml(source, project / PROJECT_FILE)
        for kind, ends in RELATION_FILES.items():
            paths = settings.get(f"{kind}-paths", settings.get(f"{kind}_paths", [f"{kind}s"]))
            for path in paths if isinstance(paths, list) else [paths]:
                names |= {file.stem for file in (project / str(path)).rglob("*") if file.suffix in ends}
    return names


def read_yaml(source: Source, path: Path) -> dict[str, Any]:
    """A file that is small in any project; what is no mapping counts as empty, and dbt says so."""
    try:
        return mapping(yaml.safe_load(small_text(source, path)) if path.is_file() else None)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}


def mapping(value: Any) -> dict[str, Any]:
    """A value of YAML that is to be a mapping; empty for any other."""
    return value if isinstance(value, dict) else {}


def small_text(source: Source, path: Path) -> bytes:
    """The text of a YAML file, which takes many times its size in memory once it is read: hence a limit."""
    with path.open("rb") as file:
        text = file.read(MOST_YAML + 1)
    if len(text) > MOST_YAML:
        raise source.refusal(f"{path.name} has more than {MOST_YAML // 2**20} MB")
    return text
