"""The lines about DAGs that are paused."""

import re

import pytest

from cht_sync.check import airflow_database
from cht_sync.check.airflow_database import ALWAYS, MEANS, check_paused
from cht_sync.check.finding import State
from cht_sync.settings.settings import REPOSITORY


@pytest.mark.parametrize("dag", MEANS)
def test_a_paused_dag_is_named_with_what_does_not_happen(dag):
    (found,) = check_paused({**dict.fromkeys(ALWAYS, False), dag: True, "of_others": True})
    assert found.state is State.WARNING
    assert f"DAG {dag}: is paused: {MEANS[dag]}. Unpause it, or all: airflow dags unpause" in str(found)


def test_where_none_is_paused_one_line_says_so():
    (found,) = check_paused({**dict.fromkeys(ALWAYS, False), "cht_models": False, "of_others": True})
    assert (found.state, str(found)) == (State.OK, "ok       DAGs: none of 5 is paused.")


@pytest.mark.parametrize("known", [{}, {"cht_sync": True}, {"cht_sync": False}])
def test_those_that_airflow_has_not_read_yet_are_said_to_be_paused(known):
    *are_paused, found = check_paused(known)
    assert len(are_paused) == sum(known.values())
    assert found.state is State.WARNING
    unread = ", ".join(dag for dag in ALWAYS if dag not in known)
    assert f"Airflow has not read {unread} yet: one that is new to it is paused until somebody" in str(found)


def test_without_airflows_database_there_is_nothing_to_say(monkeypatch):
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    assert list(check_paused()) == []


def test_a_database_that_cannot_be_read_is_a_warning(monkeypatch):
    def breaks():
        raise ValueError("postgresql://airflow:s3cret@db")

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setattr(airflow_database, "_paused", breaks)
    (found,) = check_paused()
    assert str(found) == "warning  DAGs: whether they are paused cannot be read (ValueError)."


def test_every_dag_of_the_project_is_among_them_as_the_page_has_it():
    files = (REPOSITORY / "dags").glob("*_dag.py")
    dags = {name for file in files for name in re.findall(r'dag_id="(\w+)"', file.read_text())}
    assert MEANS.keys() == dags
    rows = re.findall(r"^ *\| `(cht_\w+)`", (REPOSITORY / "docs" / "how-to-install.md").read_text(), re.M)
    assert dags <= set(rows)
