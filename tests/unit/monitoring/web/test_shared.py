"""Many readers of the page cost as much as one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import HTTPException

from cht_sync.monitoring.web.shared import AtOnce, Shared


def test_those_who_ask_meanwhile_share_one_answer():
    shared, made = Shared(30.0), []

    def make():
        made.append(1)
        time.sleep(0.3)
        return len(made)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: shared.get(make, 0.0), range(20)))
    # The first one's; and that of one which was asked for while the first was made already.
    assert len(made) <= 2
    assert set(answers) <= {1, 2}


def test_an_answer_is_as_old_as_may_be_and_no_older():
    shared, numbers = Shared(1.0), iter(range(10))
    assert [shared.get(lambda: next(numbers), 60.0) for _ in range(3)] == [0, 0, 0]
    assert shared.get(lambda: next(numbers), 0.0) == 1
    assert shared.get(lambda: next(numbers), 60.0) == 1


def test_an_error_is_nobody_elses():
    shared = Shared(1.0)
    with pytest.raises(ZeroDivisionError):
        shared.get(lambda: 1 // 0, 60.0)
    assert shared.get(lambda: 7, 60.0) == 7


def test_who_waits_too_long_is_told_to_ask_again():
    shared, begun, go_on = Shared(0.1), threading.Event(), threading.Event()

    def slow():
        begun.set()
        go_on.wait(30)
        return 1

    thread = threading.Thread(target=shared.get, args=(slow, 0.0))
    thread.start()
    begun.wait(30)
    with pytest.raises(HTTPException) as refused:
        shared.get(lambda: 2, 0.0)
    go_on.set()
    thread.join()
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "5"}
    assert shared.get(lambda: 3, 60.0) == 1


def test_only_so_many_at_once():
    places = AtOnce(2, 0.05)
    with places.place(), places.place(), pytest.raises(HTTPException, match="503"), places.place():
        pass
    with places.place(), places.place():
        pass
