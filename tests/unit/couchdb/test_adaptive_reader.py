"""Whatever the sizes of documents and wherever answers are cut, a walk hands out each row once, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.couchdb.adaptive_reader import AdaptiveReader, PageSize, read_ahead
from cht_sync.couchdb.changes_feed import RevisionFeed
from cht_sync.couchdb.range_feed import RangeFeed
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change, Page, Revision
from cht_sync.errors import BrokenAnswerError, CouchDBError, UnreadableAnswerError

ROW = 100


class Server:
    """Answers as a hook does; each row has some bytes, and a body the bytes that were said."""

    def __init__(self, sizes, cut=10**9):
        self.sizes, self.cut, self.limits = sizes, cut, []

    def patiently(self, call):
        for _ in range(2):
            try:
                return call()
            except UnreadableAnswerError:
                raise
            except CouchDBError:
                pass
        return call()

    def answer(self, rows, limit, bodies, most_bytes):
        self.limits.append(limit)
        size = sum(ROW + (self.sizes[number] if bodies else 0) for number in rows)
        if most_bytes is not None and size > most_bytes:
            raise PageTooLargeError(most_bytes)
        if size > self.cut:
            raise BrokenAnswerError("cut")
        return [
            Change(f"{number:03}", [Revision("1-a")], doc=b"x" * self.sizes[number] if bodies else b"")
            for number in rows
        ]

    def listing(self, database, keys, limit, *, bodies, most_bytes, patient):
        start = 0 if keys[0] is None else int(keys[0])
        end = len(self.sizes) if keys[1] is None else int(keys[1])
        return self.answer(range(start, end)[:limit], limit, bodies, most_bytes)

    def changes(self, database, since, limit, most_bytes, bodies=True):
        start = int(since or 0)
        rows = self.answer(range(start, len(self.sizes))[:limit], limit, bodies, most_bytes)
        end = start + len(rows)
        return Page(rows, str(end).encode(), len(self.sizes) - end, ROW * len(rows))


def walk(server, most=8, page_bytes=2000, keys=(None, None), **options):
    size = PageSize(most, page_bytes // 4, first=most)
    feed = RangeFeed(server, "db", keys, size=size, page_bytes=page_bytes, **options)
    return [change.id for page, _ in feed for change in page.results]


def names(begin, end):
    return [f"{number:03}" for number in range(begin, end)]


@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 9), st.booleans(), st.sampled_from([250, 10**9]))
def test_a_listing_hands_out_each_document_once(sizes, most, bodies, cut):
    assert walk(Server(sizes, cut), most, bodies=bodies) == names(0, len(sizes))


def test_a_listing_keeps_to_its_range_and_to_what_is_known():
    server = Server([10] * 20)
    assert walk(server, 4, keys=("003", "011")) == names(3, 11)
    assert walk(server, 4, keys=("003", "011"), after="007") == names(8, 11)


def test_one_that_is_gone_makes_a_listing_leave_out_no_other():
    server = Server([10] * 6)
    server.listing = lambda database, keys, limit, **options: [
        Change(name) for name in names(0, 6) if name != "002" and (keys[0] or "") <= name
    ][:limit]
    assert walk(server, 2, after="002") == names(3, 6)


@pytest.mark.parametrize("cut", [250, 10**9])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 100])
def test_a_feed_without_documents_comes_in_smaller_pages_where_large_ones_are_cut(rows, cut):
    server = Server([0] * rows, cut)
    pages = list(RevisionFeed(server, "db", PageSize(8, first=8)).pages(None))
    assert [change.id for page in pages for change in page.results] == names(0, rows)
    assert (min(server.limits) < 8) == (cut < ROW * min(rows, 8))


def test_one_row_that_is_too_large_is_said_at_once():
    class Large(AdaptiveReader):
        def _ask(self, position, limit):
            raise PageTooLargeError(7)

    with pytest.raises(UnreadableAnswerError, match="more than 7 bytes"):
        Large(Server([]), "db", PageSize(8)).read(None)


def test_a_server_that_cuts_every_answer_is_given_up():
    with pytest.raises(BrokenAnswerError, match="cut"):
        walk(Server([0] * 9, cut=ROW - 1))


def test_pages_are_read_ahead_and_a_failure_comes_in_its_turn():
    def pages():
        for number in range(1, 4):
            asked.append(number)
            yield number
        raise BrokenAnswerError("cut")

    asked = []
    ahead = read_ahead(pages())
    assert [next(ahead) for _ in range(3)] == [1, 2, 3] == asked
    with pytest.raises(BrokenAnswerError):
        next(ahead)
    assert list(read_ahead(iter([]))) == []
