"""Ranges of ids partition all documents, whatever the order of the server and whatever is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.couchdb import id_ranges as module
from cht_sync.couchdb.id_ranges import id_ranges, id_ranges_near, id_ranges_side_by_side
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import CouchDBError, RequestRefusedError

ORDERS = {
    "by bytes": str.encode,
    "backwards": lambda name: [-byte for byte in name.encode()] + [1],
    "without case": lambda name: (name.lower(), name),
    "by length": lambda name: (len(name), name),
}
names = st.text(st.sampled_from("aBcZé😀-1"), min_size=1, max_size=3)


class Server:
    """Lists ids in an order of its own."""

    def __init__(self, ids, order, refuses=False):
        self.key, self.refuses, self.most_skipped = ORDERS[order], refuses, 1_000_000
        self.ids = sorted(ids, key=self.key)

    def between(self, start, end):
        return [
            each
            for each in self.ids
            if (start is None or self.key(start) <= self.key(each)) and (end is None or self.key(each) < self.key(end))
        ]

    def listing(self, database, keys, limit, *, skip=0):
        start, end = keys
        if skip > self.most_skipped:
            raise CouchDBError("504")
        if self.refuses and None not in keys and self.key(start) > self.key(end):
            raise RequestRefusedError("CouchDB refused the request: No rows can match your key range.", 400)
        return [Change(each, [Revision("1-a")]) for each in self.between(*keys)[skip : skip + limit]]


def listed(server, ranges):
    return [each for keys in ranges for each in server.between(*keys)]


@given(st.sets(names), st.sampled_from(list(ORDERS)), st.integers(1, 5))
def test_ranges_of_a_walk(ids, order, size):
    server = Server(ids, order)
    ranges = id_ranges(server, "db", size)
    assert listed(server, ranges) == server.ids
    assert all(len(server.between(*keys)) == size for keys in ranges[:-1])


@given(st.sets(names, min_size=1), st.sampled_from(list(ORDERS)), st.integers(1, 9), st.integers(1, 4))
def test_where_large_steps_are_cut_small_ones_find_ranges_too(ids, order, size, most):
    server = Server(ids, order)
    server.most_skipped = most
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP", most)
        ranges = id_ranges_side_by_side([server, server], "db", size, len(ids))
    assert listed(server, ranges) == server.ids
    assert len(ranges) <= max(1, len(ids))


@given(st.sets(names), st.lists(names, unique=True), st.sampled_from(list(ORDERS)), st.booleans())
def test_near_any_guesses_each_document_is_in_one_range_or_there_are_none(ids, guesses, order, refuses):
    server = Server(ids, order, refuses)
    ranges = id_ranges_near(server, "db", guesses)
    if ranges is not None:
        assert listed(server, ranges) == server.ids
        assert len(ranges) == len(guesses) + 1


@given(st.sets(names, min_size=4), st.data())
def test_ids_that_are_there_make_good_guesses(ids, data):
    server = Server(ids, "by bytes")
    guesses = sorted(data.draw(st.sets(st.sampled_from(server.ids), min_size=1)))
    assert id_ranges_near(server, "db", guesses) == list(zip([None, *guesses], [*guesses, None], strict=True))
