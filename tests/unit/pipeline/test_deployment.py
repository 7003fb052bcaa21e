import json

import pytest

from cht_sync.errors import SettingsError
from cht_sync.pipeline.deployment import Deployment, current, expected_version, installed, require_current
from cht_sync.pipeline.source import configured_source
from cht_sync.settings import Settings


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
    assert expected_version(settings).startswith(found.fingerprint)


def test_what_is_installed_is_read_back(deployed):
    found = require_current(deployed)
    assert (found.source, found.revision, found.models, found.installed) == ("/p", "rev", 3, True)
    assert found.path.name == "one"
    assert expected_version(deployed).endswith("-rev")
    assert str(found.path) not in (found.path / "deployment.json").read_text()


def test_nothing_installed(tmp_path):
    settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "DBT_LOCAL_PATH": "/p"})
    assert current(settings) is None
    with pytest.raises(
        SettingsError,
        match=r"No dbt project is installed in .*name /p: run `python -m cht_sync pipeline` \(or `make pipeline`\)",
    ):
        require_current(settings)


def test_another_one_installed(deployed, tmp_path):
    other = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "CHT_PIPELINE_BRANCH_URL": "https://t0ken@h/q#main"})
    with pytest.raises(
        SettingsError,
        match=r"is /p, but the settings name https://h/q#main: run `python -m cht_sync pipeline` \(or `make pipeline`\)",
    ):
        require_current(other)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"unknown": 1})])
def test_a_broken_record(deployed, tmp_path, content):
    (tmp_path / "current" / "deployment.json").write_text(content)
    with pytest.raises(SettingsError, match=r"run `python -m cht_sync pipeline` \(or `make pipeline`\)"):
        require_current(deployed)
