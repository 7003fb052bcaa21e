"""The lines about DAGs that are paused."""

import re

import pytest

from cht_sync.check.finding import State
from cht_sync.check.paused import MEANS, check_paused
from cht_sync.settings import REPOSITORY


@pytest.mark.parametrize("dag", MEANS)
def test_a_paused_dag_is_named_with_what_does_not_happen(dag):
    (found,) = check_paused({**dict.fromkeys(["cht_sync", "cht_reconcile"], False), dag: True, "of_others": True})
    assert found.state is State.WARNING
    assert f"DAG {dag}: is paused: {MEANS[dag]}. Unpause it, or all: airflow dags unpause" in str(found)


def test_where_none_is_paused_one_line_says_so():
    (found,) = check_paused({"cht_sync": False, "cht_reconcile": False, "of_others": True})
    assert (found.state, str(found)) == (State.OK, "ok       DAGs: none of 2 is paused.")


def test_before_airflow_has_read_them_they_are_said_to_be_paused():
    (found,) = check_paused({})
    assert found.state is State.WARNING
    assert "each is paused until somebody unpauses it" in str(found)


def test_without_airflows_database_there_is_nothing_to_say(monkeypatch):
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    assert list(check_paused()) == []


def test_every_dag_of_the_project_is_among_them_as_the_readme_has_it():
    files = (REPOSITORY / "dags").glob("*_dag.py")
    dags = {name for file in files for name in re.findall(r'dag_id="(\w+)"', file.read_text())}
    assert MEANS.keys() == dags
    rows = re.findall(r"^ *\| `(cht_\w+)`", (REPOSITORY / "README.md").read_text(), re.M)
    assert dags <= set(rows)
