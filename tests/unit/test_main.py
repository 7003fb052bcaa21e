import os
import subprocess
import sys

import pytest

from cht_sync import __main__ as module
from cht_sync.dbt.project.version import Deployment
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import REPOSITORY

PLUGINS = str(REPOSITORY / "plugins")


@pytest.fixture
def pipeline(monkeypatch):
    """Replaces what builds, asks the database, and publishes; gives what was published."""
    published = []

    def set_up(stage, deployed=None):
        monkeypatch.setattr("cht_sync.dbt.deploy.install.stage", stage)
        monkeypatch.setattr("cht_sync.dbt.deploy.active_version.deployed_version", lambda _: deployed)
        monkeypatch.setattr("cht_sync.dbt.deploy.install.publish", lambda _, made: published.append(made))
        return published

    return set_up


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_reads_the_env_file_but_the_environment_wins(monkeypatch, folder, pipeline):
    for name in ("CHT_TEST_FILE", "CHT_TEST_BOTH", "CHT_TEST_EMPTY"):
        # So that what the command sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHT_TEST_BOTH", "environment")
    (folder / ".env").write_text("CHT_TEST_FILE='a file'\nCHT_TEST_BOTH=file\nCHT_TEST_EMPTY=\nCHT_TEST_BARE\n")
    seen = {}

    def look(*_, **__):
        seen.update((name, value) for name, value in os.environ.items() if name.startswith("CHT_TEST_"))
        raise SettingsError("Enough.")

    pipeline(look)
    assert module.main(["pipeline"]) == 1
    assert seen == {"CHT_TEST_FILE": "a file", "CHT_TEST_BOTH": "environment"}


def test_it_needs_no_dotenv(monkeypatch, folder, pipeline):
    (folder / ".env").write_text("CHT_TEST_FILE=file\n")
    monkeypatch.setitem(sys.modules, "dotenv", None)
    pipeline(lambda *_, **__: Deployment(folder, folder, "s", "f"))
    assert module.main(["pipeline"]) == 0
    assert "CHT_TEST_FILE" not in os.environ


def test_it_tells_what_was_installed(capsys, tmp_path, pipeline):
    made = Deployment(tmp_path, tmp_path, "https://h/p#main", "f", "0123456789abcdef", models=12, dbt_version="1.11.1")
    published = pipeline(lambda _, force: made)
    assert module.main(["pipeline"]) == 0
    assert capsys.readouterr().out.startswith("https://h/p#main (0123456789ab), 12 models, dbt 1.11.1, in ")
    assert published == [made]


def test_it_leaves_the_switch_to_the_dag_where_tables_come_from_another_version(capsys, tmp_path, pipeline):
    made, deployed = (Deployment(tmp_path, tmp_path, "https://h/p#main", "f", revision) for revision in "ab")
    published = pipeline(lambda _, force: made, deployed)
    assert module.main(["pipeline"]) == 0
    assert "the DAG cht_pipeline_deploy rebuilds what changed and switches" in capsys.readouterr().out
    assert published == []


def test_an_error_is_one_sentence_on_stderr(capsys, pipeline):
    def refuse(*_, **__):
        raise SettingsError("It cannot be done.")

    pipeline(refuse)
    assert module.main(["pipeline", "--force"]) == 1
    assert capsys.readouterr() == ("", "It cannot be done.\n")


def test_help_needs_no_airflow():
    command = [sys.executable, "-m", "cht_sync", "--help"]
    done = subprocess.run(command, env={"PYTHONPATH": PLUGINS}, capture_output=True, text=True, check=True)
    assert "pipeline" in done.stdout
    with pytest.raises(SystemExit):
        module.main([])
