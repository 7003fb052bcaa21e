"""What tells the content of one dbt project from another."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from cht_sync.dbt.project.graph import FORM
from cht_sync.dbt.project.source import STARTER, Source
from cht_sync.dbt.project.tree import Tree
from cht_sync.settings.settings import REPOSITORY, Settings

WRAPPER = REPOSITORY / "include" / "dbt" / "wrapper"
NOT_COPIED = (".git", "target", "dbt_packages", "logs", "__pycache__", ".venv", ".user.yml")


def content_hash(folder: Path, source: Source | None = None) -> str:
    """A hash of the names and bytes of a project's files and of where its links lead, without what dbt and git write.

    :raises SettingsError: if it is too large, or holds what is neither file, folder nor link.
    """
    tree, digest = Tree(source or Source("folder", str(folder)), NOT_COPIED), hashlib.sha256()
    for member in tree.members(folder):
        path = os.fsencode(member.path)
        if member.is_link:
            digest.update(path + b"\0->" + os.fsencode(member.target) + b"\0")
        elif not member.is_folder:
            digest.update(path + f"\0{member.found.st_size}\0".encode())
            for piece in tree.content(member):
                digest.update(piece)
    return digest.hexdigest()[:40]


def build_key(settings: Settings, forms: str = "") -> str:
    """A hash of what one project is built with: the variables it reads, the versions of dbt, wrapper and starter.

    A project may use the starter as a package, which it gets as it is in this release.

    :param forms: hash of the models of forms that are built with it; empty for none.
    """
    versions = {name: version(name) for name in ("dbt-core", "dbt-postgres")}
    wrapper = {str(path): hashlib.sha256(data).hexdigest() for path, data in wrapper_files()}
    parts = [settings.dbt_environment, versions, wrapper, content_hash(STARTER), FORM, *filter(None, [forms])]
    key = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def wrapper_files() -> Iterator[tuple[Path, bytes]]:
    """Each file of the wrapper project, with its path within it."""
    for path in sorted(WRAPPER.rglob("*")):
        relative = path.relative_to(WRAPPER)
        if path.is_file() and relative.parts[0] not in {"target", "logs", "dbt_packages", ".user.yml"}:
            yield relative, path.read_bytes()
