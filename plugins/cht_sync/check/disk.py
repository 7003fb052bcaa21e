"""Whether there is room where Airflow and dbt write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.settings.settings import Settings

GIGABYTE = 1_000_000_000
SCARCE, TOO_LITTLE = 2 * GIGABYTE, GIGABYTE // 5


def check_disk(settings: Settings) -> Iterator[Finding]:
    """One finding each for AIRFLOW_HOME and CHT_PIPELINE_DIR."""
    home = Path(settings.text("AIRFLOW_HOME", "~/airflow")).expanduser()
    yield check_folder("Disk of AIRFLOW_HOME", home)
    yield check_folder("Disk of CHT_PIPELINE_DIR", settings.pipeline_dir)


def check_folder(subject: str, folder: Path) -> Finding:
    """Free space of a folder that may be still to be made, and whether this user may write there."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(
            subject, f"{folder} cannot be written by this user (id {os.getuid()}): chown it, or name another."
        )
    free = shutil.disk_usage(there).free
    seen = f"{free / GIGABYTE:,.1f} GB free in {folder}"
    if free < TOO_LITTLE:
        return failed(subject, f"{seen}: free space there, or name another folder.")
    if free < SCARCE:
        return warning(subject, f"{seen}: make room before logs and dbt's files fill it.")
    return ok(subject, f"{seen}.")
