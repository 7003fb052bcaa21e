"""Whether the installed versions are those this release is made for, and whether there is room on the disks."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.specifiers import SpecifierSet

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.settings.settings import Settings

PYTHON = ">=3.11,<3.14"
# Those of requirements.in, which is not there where only the folders of the package were copied.
PACKAGES = {
    "apache-airflow": ">=3.3,<3.4",
    "apache-airflow-providers-postgres": ">=7.1,<8",
    "apache-airflow-providers-apprise": ">=2.3",
    "apache-airflow-providers-smtp": ">=3.0",
    "astronomer-cosmos": ">=1.15.1,<1.16",
    "dbt-core": ">=1.11,<1.12",
    "dbt-postgres": ">=1.10,<2",
    "lxml": ">=6",
    "msgspec": ">=0.19",
    "prometheus-client": ">=0.20",
    "psycopg2-binary": ">=2.9",
    "requests": ">=2.32.4",
    "urllib3": ">=2.6",
}
# The same module, built where the system's libpq is wanted.
OTHER_NAMES = {"psycopg2-binary": "psycopg2"}
GIGABYTE = 1_000_000_000
SCARCE, TOO_LITTLE = 2 * GIGABYTE, GIGABYTE // 5


def check_versions(installed: Callable[[str], str] = version) -> Iterator[Finding]:
    """One finding for Python and each package."""
    yield _judged("Python", platform.python_version(), PYTHON, "use a Python of that range")
    for name, supported in PACKAGES.items():
        found = _version(name, installed)
        if found is None:
            yield failed(name, f"is not installed: pip install '{name}{supported}', or -r requirements.txt.")
        else:
            yield _judged(name, found, supported, f"pip install '{name}{supported}'")


def _version(name: str, installed: Callable[[str], str]) -> str | None:
    for each in filter(None, (name, OTHER_NAMES.get(name))):
        with suppress(PackageNotFoundError):
            return installed(each)
    return None


def _judged(subject: str, found: str, supported: str, remedy: str) -> Finding:
    if SpecifierSet(supported).contains(found, prereleases=True):
        return ok(subject, f"{found} (supported: {supported}).")
    return warning(subject, f"{found} was never tested, supported is {supported}: {remedy}.")


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
