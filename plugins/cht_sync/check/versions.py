"""Whether the installed versions are those this release is made for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from cht_sync.check.finding import Finding, failed, ok, warning

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
    "msgspec": ">=0.19",
    "prometheus-client": ">=0.20",
    "psycopg2-binary": ">=2.9",
    "requests": ">=2.32.4",
    "urllib3": ">=2.6",
}
# The same module, built where the system's libpq is wanted.
OTHER_NAMES = {"psycopg2-binary": "psycopg2"}


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
        try:
            return installed(each)
        except PackageNotFoundError:
            continue
    return None


def _judged(subject: str, found: str, supported: str, remedy: str) -> Finding:
    if SpecifierSet(supported).contains(found, prereleases=True):
        return ok(subject, f"{found} (supported: {supported}).")
    return warning(subject, f"{found} was never tested, supported is {supported}: {remedy}.")
