import subprocess
import sys

import pytest

from cht_sync import __main__ as module
from cht_sync.errors import SettingsError
from cht_sync.pipeline.deployment import Deployment


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
    done = subprocess.run(command, env={"PYTHONPATH": "plugins"}, capture_output=True, text=True, check=True)
    assert "pipeline" in done.stdout
    with pytest.raises(SystemExit):
        module.main([])
