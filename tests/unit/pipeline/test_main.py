import os
import subprocess
import sys

import pytest

from cht_sync import __main__ as module
from cht_sync.errors import SettingsError
from cht_sync.pipeline.deployment import Deployment
from cht_sync.settings import REPOSITORY

PLUGINS = str(REPOSITORY / "plugins")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_reads_the_env_file_but_the_environment_wins(monkeypatch, folder):
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

    monkeypatch.setattr("cht_sync.pipeline.install.install", look)
    assert module.main(["pipeline"]) == 1
    assert seen == {"CHT_TEST_FILE": "a file", "CHT_TEST_BOTH": "environment"}


def test_it_needs_no_dotenv(monkeypatch, folder):
    (folder / ".env").write_text("CHT_TEST_FILE=file\n")
    monkeypatch.setitem(sys.modules, "dotenv", None)
    monkeypatch.setattr("cht_sync.pipeline.install.install", lambda *_, **__: Deployment(folder, folder, "s", "f"))
    assert module.main(["pipeline"]) == 0
    assert "CHT_TEST_FILE" not in os.environ


def test_it_tells_what_was_installed(monkeypatch, capsys, tmp_path):
    made = Deployment(tmp_path, tmp_path, "https://h/p#main", "f", "0123456789abcdef", models=12, dbt_version="1.11.1")
    monkeypatch.setattr("cht_sync.pipeline.install.install", lambda _, force: made)
    assert module.main(["pipeline"]) == 0
    assert capsys.readouterr().out.startswith("https://h/p#main (0123456789ab), 12 models, dbt 1.11.1, in ")


def test_an_error_is_one_sentence_on_stderr(monkeypatch, capsys):
    def refuse(*_, **__):
        raise SettingsError("It cannot be done.")

    monkeypatch.setattr("cht_sync.pipeline.install.install", refuse)
    assert module.main(["pipeline", "--force"]) == 1
    assert capsys.readouterr() == ("", "It cannot be done.\n")


def test_help_needs_no_airflow():
    command = [sys.executable, "-m", "cht_sync", "--help"]
    done = subprocess.run(command, env={"PYTHONPATH": PLUGINS}, capture_output=True, text=True, check=True)
    assert "pipeline" in done.stdout
    with pytest.raises(SystemExit):
        module.main([])
