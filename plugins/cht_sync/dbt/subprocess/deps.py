"""``dbt deps`` as a program, for any Python: before 3.11.4 tarfile follows links in a package that lead out of it.

Source: https://docs.python.org/3/library/tarfile.html#tarfile-extraction-filter
"""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

from dbt.cli.main import cli
from dbt_common.clients import system


def take_out(tarball: tarfile.TarFile, path: str = ".") -> None:
    """Takes out files and folders, where none leads out of the path; links and devices are left out."""
    root = Path(os.path.realpath(path))
    members = [member for member in tarball.getmembers() if member.isreg() or member.isdir()]
    for member in members:
        if not Path(os.path.realpath(root / member.name)).is_relative_to(root):
            raise tarfile.TarError(f"{member.name} leads out of the package")
    tarball.extractall(root, members=members)  # noqa: S202 - each of them was looked at


if __name__ == "__main__":
    if not hasattr(tarfile, "data_filter"):
        system.safe_extract = take_out
    cli(sys.argv[1:])
