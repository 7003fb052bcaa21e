"""What tells the content of one dbt project from another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

NOT_COPIED = (".git", "target", "dbt_packages", "logs", "__pycache__", ".venv", ".user.yml")


def content_hash(folder: Path) -> str:
    """A hash of the names and bytes of a project's files, without what dbt and git write into it.

    :param folder: the project.
    """
    digest = hashlib.sha256()
    for parent, names, files in os.walk(folder):
        names[:] = sorted(set(names).difference(NOT_COPIED))
        for name in sorted(set(files).difference(NOT_COPIED)):
            path = Path(parent, name)
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:40]
