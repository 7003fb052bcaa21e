import json

import pytest

from cht_sync.dbt.project.content import content_hash
from cht_sync.dbt.project.source import STARTER, configured_source
from cht_sync.dbt.project.version import (
    Deployment,
    current,
    find,
    installed,
    kept,
    require_configured,
    require_current,
)
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


@pytest.fixture
def deployed(tmp_path):
    """Settings that name a folder, with a version of it installed."""
    settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "DBT_LOCAL_PATH": "/p"})
    path = tmp_path / "versions" / "one"
    path.mkdir(parents=True)
    Deployment(path, path / "graph.json", "/p", configured_source(settings).fingerprint, "rev", models=3).save()
    (tmp_path / "current").symlink_to("versions/one")
    return settings


def test_the_starter_needs_no_installation(tmp_path):
    settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path)})
    found = current(settings)
    assert not found.installed
    assert found.path.is_dir()
    assert found.graph.is_file()
    assert installed(settings) is None
    assert found.version.startswith(f"{found.fingerprint}-{content_hash(STARTER)}-")


def test_what_is_installed_is_read_back(deployed):
    found = require_current(deployed)
    assert (found.source, found.revision, found.models, found.installed) == ("/p", "rev", 3, True)
    assert found.path.name == "one"
    assert found.version == f"{found.fingerprint}-rev-"
    assert str(found.path) not in (found.path / "deployment.json").read_text()


def test_nothing_installed(tmp_path):
    settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "DBT_LOCAL_PATH": "/p"})
    assert current(settings) is None
    with pytest.raises(
        SettingsError,
        match=r"No dbt project is installed in .*name /p: unpause the DAG cht_pipeline_deploy, or run `python -m cht_sync pipeline` \(or `make pipeline`\)",
    ):
        require_current(settings)


def test_another_one_installed(deployed, tmp_path):
    other = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "CHT_PIPELINE_BRANCH_URL": "https://t0ken@h/q#main"})
    # What the tables come from goes on to be drawn until the other one is deployed.
    assert require_current(other).source == "/p"
    with pytest.raises(
        SettingsError,
        match=r"is /p, but the settings name https://h/q#main: unpause the DAG cht_pipeline_deploy, or run `python",
    ):
        require_configured(other)


def test_kept_versions_are_found_the_newest_first(deployed, tmp_path):
    one = require_current(deployed)
    for name, installed_at in (("two", "2026-01-02T00:00:00"), ("three", "2026-01-01T00:00:00")):
        path = tmp_path / "versions" / name
        path.mkdir()
        Deployment(path, path, one.source, one.fingerprint, "newer", installed_at=installed_at).save()
    (tmp_path / "versions" / "unfinished").mkdir()
    (tmp_path / "versions" / "two" / "manifest.json").touch()
    assert [each.path.name for each in kept(deployed)] == ["two", "three", "one"]
    assert find(deployed, one.version) == one
    newest = find(deployed, f"{one.fingerprint}-newer-")
    assert newest.path.name == "two"
    assert (newest.manifest.parent.name, one.manifest.parent.name) == ("two", "target")
    assert find(deployed, "no such version") is None
    assert kept(Settings({"CHT_PIPELINE_DIR": str(tmp_path / "none")})) == []


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"unknown": 1})])
def test_a_broken_record(deployed, tmp_path, content):
    (tmp_path / "current" / "deployment.json").write_text(content)
    with pytest.raises(SettingsError, match=r"run `python -m cht_sync pipeline` \(or `make pipeline`\)"):
        require_current(deployed)
    assert kept(deployed) == []
