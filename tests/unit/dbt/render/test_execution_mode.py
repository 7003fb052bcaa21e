import sys
from types import SimpleNamespace

import pytest

from cht_sync.dbt.render.execution_mode import in_one_process, models_mode
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

RUNNER = "airflow.sdk.execution_time.task_runner"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    in_one_process.cache_clear()
    monkeypatch.setitem(sys.modules, RUNNER, SimpleNamespace())
    yield
    in_one_process.cache_clear()


@pytest.mark.parametrize(
    ("argv", "mode"),
    [
        (["/venv/bin/airflow", "dags", "test", "cht_sync"], "local"),
        (["/venv/bin/airflow", "dags", "list"], "watcher"),
        (["/venv/bin/airflow", "dags", "reserialize"], "watcher"),
        (["/venv/bin/airflow", "standalone"], "watcher"),
        (["/venv/lib/airflow/__main__.py", "dags", "test"], "local"),
        (["my_script.py"], "local"),
        (["/venv/bin/pytest"], "local"),
    ],
)
def test_auto(argv, mode, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert models_mode(Settings({})) == mode


def test_under_a_supervisor_it_is_a_real_run(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["anything.py"])
    monkeypatch.setitem(sys.modules, RUNNER, SimpleNamespace(SUPERVISOR_COMMS=object()))
    assert models_mode(Settings({})) == "watcher"


def test_a_supervisor_lent_later_changes_nothing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["my_script.py"])
    assert models_mode(Settings({})) == "local"
    monkeypatch.setitem(sys.modules, RUNNER, SimpleNamespace(SUPERVISOR_COMMS=object()))
    assert models_mode(Settings({})) == "local"


def test_the_setting_decides_where_set():
    assert models_mode(Settings({"CHT_MODELS_EXECUTION": "watcher"})) == "watcher"
    assert models_mode(Settings({"CHT_MODELS_EXECUTION": "LOCAL"})) == "local"
    with pytest.raises(SettingsError, match="CHT_MODELS_EXECUTION"):
        models_mode(Settings({"CHT_MODELS_EXECUTION": "async"}))
