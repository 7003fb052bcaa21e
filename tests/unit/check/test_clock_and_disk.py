import shutil
from datetime import UTC, datetime, timedelta

import pytest

from cht_sync.check.finding import State, clock_finding
from cht_sync.check.machine import GIGABYTE, check_folder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (29, State.OK, "within"),
        (-29, State.OK, "within"),
        (90, State.WARNING, "89 s ahead"),
        (-90, State.WARNING, "90 s behind"),
    ],
)
def test_clocks_are_compared(seconds, state, said):
    finding = clock_finding("Clock", NOW + timedelta(seconds=seconds), NOW, NOW + timedelta(seconds=1))
    assert (finding.state, said in finding.text) == (state, True)


def test_a_slow_answer_is_no_wrong_clock():
    assert clock_finding("Clock", NOW + timedelta(seconds=50), NOW, NOW + timedelta(seconds=100)).state is State.OK


@pytest.mark.parametrize(
    ("free", "state"), [(5 * GIGABYTE, State.OK), (GIGABYTE, State.WARNING), (GIGABYTE // 100, State.FAILED)]
)
def test_free_space_is_that_of_the_nearest_folder_there_is(tmp_path, monkeypatch, free, state):
    asked = []
    monkeypatch.setattr("shutil.disk_usage", lambda path: asked.append(path) or shutil._ntuple_diskusage(0, 0, free))
    assert check_folder("Disk", tmp_path / "to" / "come").state is state
    assert asked == [tmp_path]


def test_a_folder_of_somebody_else_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    finding = check_folder("Disk", tmp_path)
    assert finding.state is State.FAILED
    assert "cannot be written" in finding.text
