"""A task that Airflow ends cancels its statements for a moment, and not those of whoever notes why it ended."""

import threading
import time

import pytest

from cht_sync.errors import StoppedError
from cht_sync.operators import base


class Hangs(base.EndableOperator):
    kept = "nothing counts"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ends = threading.Event()

    def work(self, context):
        self.ends.wait(10)
        return {}


@pytest.fixture
def cancelled(monkeypatch):
    cancelled = []
    monkeypatch.setattr(base, "cancel_statements", lambda: cancelled.append(time.monotonic()))
    monkeypatch.setattr(base, "LAST_MOMENTS_S", 0.5)
    monkeypatch.setattr(base, "CANCEL_AGAIN_S", 0.02)
    return cancelled


def test_what_does_not_end_is_left_alone_after_a_moment(cancelled):
    operator = Hangs(task_id="hangs")
    threading.Timer(0.1, operator.on_kill).start()
    with pytest.raises(StoppedError, match=r"Airflow ended this task; nothing counts\.$"):
        operator.execute({})
    number = len(cancelled)
    assert number > 1
    time.sleep(0.2)
    assert len(cancelled) == number
    operator.ends.set()


def test_it_ends_with_its_work(cancelled, monkeypatch):
    monkeypatch.setattr(base, "LAST_MOMENTS_S", 20.0)
    operator = Hangs(task_id="hangs")
    threading.Timer(0.1, operator.on_kill).start()
    threading.Timer(0.2, operator.ends.set).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        operator.execute({})
    assert time.monotonic() - begun < 10
    assert cancelled


def test_nothing_is_ended_before_it_began(cancelled):
    Hangs(task_id="hangs").on_kill()
    assert cancelled == []
