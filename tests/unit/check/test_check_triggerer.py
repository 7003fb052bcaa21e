"""The line about Airflow's triggerer."""

from datetime import UTC, datetime, timedelta

import pytest

from cht_sync.check.airflow_database import check_triggerer
from cht_sync.check.finding import State
from cht_sync.settings.settings import Settings


@pytest.mark.parametrize(("minutes", "state"), [(0, State.OK), (1, State.OK), (5, State.FAILED), (None, State.FAILED)])
def test_where_changes_start_runs_somebody_has_to_wait_for_them(minutes, state):
    at = None if minutes is None else datetime.now(UTC) - timedelta(minutes=minutes)
    (found,) = check_triggerer(Settings({"CHT_SYNC_MODE": "event"}), lambda: at)
    assert found.state is state
    assert "CHT_SYNC_MODE=event" in str(found)


def test_with_a_schedule_there_is_nothing_to_say():
    assert list(check_triggerer(Settings({}), lambda: None)) == []


def test_without_airflows_database_it_is_not_known(monkeypatch):
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    (found,) = check_triggerer(Settings({"CHT_SYNC_MODE": "both"}))
    assert found.state is State.WARNING
