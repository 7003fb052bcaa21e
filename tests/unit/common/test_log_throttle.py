"""What is said again and again is said ever more rarely."""

from __future__ import annotations

import logging

import pytest

from cht_sync.common import retry
from cht_sync.common.log_throttle import Repeated, Seldom
from cht_sync.common.retry import patiently
from cht_sync.errors import CouchDBError


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_wait_is_told_after_a_while_and_then_ever_more_rarely():
    clock = Clock()
    seldom, told = Seldom(10, 30, clock), []
    for second in range(2000):
        clock.now = 100.0 + second
        if seldom.due():
            told.append(second)
    assert told == [10, 40, 130, 400, 1000, 1600]


def test_the_same_failure_is_told_at_once_then_with_its_number():
    clock = Clock()
    repeated, told = Repeated(10, clock), {}
    for second in range(200):
        clock.now = 100.0 + second
        counted = repeated.count(f"CouchDB at http://h:5984 did not answer (attempt {second}).")
        if counted is not None:
            told[second] = counted
    assert told == {
        0: "",
        10: " It is the 11th time in 10 s.",
        40: " It is the 41st time in 40 s.",
        130: " It is the 131st time in 130 s.",
    }
    assert repeated.count("Something else.") == "", "another failure is told at once"
    clock.now += 1000
    assert repeated.count("CouchDB at http://h:5984 did not answer (attempt 0).") == "", "long over"


def test_a_server_that_is_gone_does_not_fill_the_log(caplog, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(retry, "_told", Repeated(10, clock))
    monkeypatch.setattr(retry.tenacity.nap.time, "sleep", lambda seconds: None)
    tries = []

    def call():
        tries.append(None)
        clock.now += 1
        raise CouchDBError("CouchDB at http://h:5984 could not be reached.")

    for _ in range(20):  # as many requests, each of which is tried again
        with pytest.raises(CouchDBError):
            patiently(call, lambda error: isinstance(error, CouchDBError), 0, logging.getLogger("test"))
    said = [each for each in caplog.messages if "could not be reached" in each]
    assert len(tries) == 60
    assert len(said) == 3, said
    assert said[0].startswith("CouchDB at http://h:5984 could not be reached. Trying again in ")
    assert said[1].endswith(" time in 10 s.")
