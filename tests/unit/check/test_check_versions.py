import re
from importlib.metadata import PackageNotFoundError

import pytest

from cht_sync.check.finding import State
from cht_sync.check.machine import PACKAGES, PYTHON, check_versions
from cht_sync.settings.settings import REPOSITORY


def test_the_ranges_are_those_of_the_requirements():
    lines = (REPOSITORY / "requirements.in").read_text().splitlines()
    wanted = dict(re.findall(r"^([a-z0-9-]+)([<>=][^ #\n]*)", "\n".join(lines), re.M))
    assert wanted == PACKAGES
    assert "Python 3.11 to 3.13" in (REPOSITORY / "README.md").read_text()
    assert PYTHON == ">=3.11,<3.14"
    assert f'requires-python = "{PYTHON}"' in (REPOSITORY / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("version", "state"), [("1.15.3", State.OK), ("1.14.0", State.WARNING), ("1.16.0a1", State.WARNING)]
)
def test_a_version_is_compared_with_its_range(version, state):
    found = {f.subject: f for f in check_versions(lambda name: version if name == "astronomer-cosmos" else "0")}
    assert found["astronomer-cosmos"].state is state
    assert version in found["astronomer-cosmos"].text


def test_what_is_not_installed_fails_and_psycopg2_may_be_built_here():
    def installed(name):
        if name == "psycopg2":
            return "2.9.10"
        raise PackageNotFoundError(name)

    found = {f.subject: f for f in check_versions(installed)}
    assert found["psycopg2-binary"].state is State.OK
    assert found["dbt-core"].state is State.FAILED
    assert "pip install 'dbt-core>=1.11,<1.12'" in found["dbt-core"].text
