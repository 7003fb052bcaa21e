from __future__ import annotations

import subprocess

import pytest

from cht_sync.settings.settings import Settings
from tests import prepared_dbt
from tests.integration.dbt.team import Team

PROJECT = "name: little\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"
IDENTITY = ["-c", "user.name=n", "-c", "user.email=n@example.org"]


@pytest.fixture(scope="session")
def process_with_dbt():
    with prepared_dbt.prepared() as process:
        yield process


@pytest.fixture(scope="module", autouse=True)
def quick_dbt(process_with_dbt):
    """Forks dbt from a process that has loaded it; a module that wants it started anew has a fixture of this name."""
    with prepared_dbt.used(process_with_dbt):
        yield


@pytest.fixture
def project(tmp_path):
    """A dbt project of two models that reads no hub package."""
    return write_project(tmp_path / "little")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Makes settings that install into a folder of the test."""
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")

    def make(**environ):
        return Settings({"CHT_PIPELINE_DIR": str(tmp_path / "pipeline"), **environ})

    return make


def write_project(folder, **files):
    for name, text in {
        "dbt_project.yml": PROJECT,
        "models/one.sql": "select '{{ env_var('POSTGRES_TABLE') }}' as a",
        "models/two.sql": "{{ config(tags=['late']) }} select * from {{ ref('one') }}",
        **{name.replace("__", "/"): text for name, text in files.items()},
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def git(folder, *arguments):
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(project):
    """The project as a git repository: tag v1, then a branch ``next`` and a newer ``main``."""
    git(project, "init", "--quiet", "--initial-branch=main")
    for version in ("v1", "next", "main"):
        (project / "version.txt").write_text(version)
        git(project, "add", ".")
        git(project, "commit", "--quiet", "-m", version)
        git(project, *{"v1": ("tag", "-a", "v1", "-m", "v1"), "next": ("branch", "next"), "main": ("status",)}[version])
    return project


@pytest.fixture
def team(database, tmp_path, monkeypatch):
    """A team's project, which the settings name, and an empty database."""
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("DBT_LOCAL_PATH", str(tmp_path / "team"))
    return Team(tmp_path / "team")
