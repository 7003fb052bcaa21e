"""Batches follow each other in one run, and none is taken for ever."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def records(first, last, **fields):
    return [{"_id": f"r{number:03}", "type": "data_record", **fields} for number in range(first, last)]


def save_one_by_one(models, documents):
    for document in documents:  # each with a stamp of its own
        models.save(document)


def test_a_run_catches_up_batch_by_batch(models):
    save_one_by_one(models, records(0, 12))
    told = models.run(batch_size=5)
    assert told.status["data_record"] == "success"
    assert len(models.ids("data_record")) == 12
    assert told.modelled_to == told.newest


def test_the_next_run_goes_on_where_the_time_was_over(models):
    save_one_by_one(models, records(0, 12))
    first = models.run(batch_size=5, budget=0)
    assert len(models.ids("data_record")) == 5
    assert first.status["data_record"] == "success"
    assert first.modelled_to < first.newest
    assert models.run(batch_size=5).modelled_to == first.newest


def test_a_batch_of_tombstones_holds_nothing_up(models, caplog):
    save_one_by_one(models, records(0, 3))
    models.run(batch_size=5)
    # What was never modelled leaves no trace when it is deleted: the newest row stays where it was.
    save_one_by_one(models, records(100, 112, _deleted=True))
    save_one_by_one(models, records(3, 5))
    told = models.run(batch_size=5)
    assert len(models.ids("data_record")) == 5
    assert told.modelled_to == told.newest
    assert "Only deletes; batch size now" in caplog.text


def test_tombstones_at_the_end_are_no_lag(models):
    save_one_by_one(models, records(0, 3))
    save_one_by_one(models, records(100, 107, _deleted=True))
    told = models.run(batch_size=5)
    assert len(models.ids("data_record")) == 3
    assert told.modelled_to == told.newest
