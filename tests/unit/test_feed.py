import json

import pytest

from cht_sync.errors import CouchDBError
from cht_sync.feed import PAGE_LIMIT, PAGE_TARGET, ChangesFeed
from cht_sync.page import Change, decode_page
from cht_sync.transport import PageTooLargeError


class Database:
    """Answers as a hook does, from a list of documents; sizes are said, not built."""

    def __init__(self, sizes, counts_pending=True):
        self.sizes, self.counts_pending = sizes, counts_pending
        self.limits = []
        self.bodies = {}

    def changes(self, database, since, limit, most_bytes):
        assert database == "medic"
        start = int((since or "0").partition("-")[0])
        sizes = self.sizes[start : start + limit]
        self.limits.append(limit)
        if sum(sizes) > most_bytes and limit > 1:
            raise PageTooLargeError(most_bytes)
        end = start + len(sizes)
        rows = [self.row(number) for number in range(start, end)]
        answer = {"results": rows, "last_seq": f"{end}-x"}
        if self.counts_pending:
            answer["pending"] = len(self.sizes) - end
        page = decode_page(json.dumps(answer).encode())
        page.size = sum(sizes)
        return page

    def row(self, number):
        return {"id": str(number), "changes": [{"rev": "1-x"}], "doc": {"_id": str(number)}}

    def documents(self, database, ids):
        for each in ids:
            yield self.bodies.get(each, Change(id=each))


@pytest.mark.parametrize("counts_pending", [True, False])
@pytest.mark.parametrize("documents", [0, 1, 99, 100, 101, 5432])
def test_every_document_comes_once(documents, counts_pending):
    database = Database([1000] * documents, counts_pending)
    ids = [change.id for page in ChangesFeed(database, "medic", None) for change in page.results]
    assert ids == [str(number) for number in range(documents)]
    if not counts_pending or documents == 0:
        return
    # where the server counts, no request goes out only to find the end
    assert len(database.limits) == len(list(ChangesFeed(Database([1000] * documents), "medic", None)))


def test_it_goes_on_from_the_checkpoint():
    pages = list(ChangesFeed(Database([1000] * 10), "medic", "7-x"))
    assert [change.id for page in pages for change in page.results] == ["7", "8", "9"]


def test_small_documents_come_in_full_pages():
    database = Database([1000] * 20_000)
    list(ChangesFeed(database, "medic", None, batch_size=2000))
    assert database.limits[:4] == [100, 400, 1600, 2000]
    assert max(database.limits) == 2000


def test_large_documents_come_in_pages_of_about_8_mb():
    database = Database([4_000_000] * 60)
    pages = list(ChangesFeed(database, "medic", None))
    assert max(page.size for page in pages) <= PAGE_LIMIT
    assert max(page.size for page in pages[5:]) <= PAGE_TARGET


def test_documents_that_grow_suddenly_do_not_fill_the_memory():
    sizes = [500] * 5000 + [6_000_000] * 30 + [500] * 5000
    database = Database(sizes)
    pages = list(ChangesFeed(database, "medic", None))
    assert sum(len(page.results) for page in pages) == len(sizes)
    assert max(page.size for page in pages) <= PAGE_LIMIT


def test_one_document_larger_than_a_page_comes_alone():
    sizes = [100, PAGE_LIMIT * 2, 100]
    assert sum(len(page.results) for page in ChangesFeed(Database(sizes), "medic", None)) == 3


def test_a_row_without_its_document_is_fetched_again():
    database = Database([1000] * 3)
    database.row = lambda number: {"id": str(number), "changes": [], "doc": None}
    database.bodies = {str(n): Change(id=str(n), doc=b'{"n":1}') for n in range(3)}
    (page,) = ChangesFeed(database, "medic", None)
    assert [bytes(change.doc) for change in page.results] == [b'{"n":1}'] * 3


def test_a_document_that_is_not_handed_out_stops_the_feed_by_name():
    database = Database([1000] * 3)
    database.row = lambda number: {"id": f"doc{number}", "changes": [], "error": "x"}
    with pytest.raises(CouchDBError, match="'doc0' of database 'medic'"):
        list(ChangesFeed(database, "medic", None))


def test_the_next_page_is_read_while_one_is_worked_on():
    database = Database([1000] * 1000)
    for number, _ in enumerate(ChangesFeed(database, "medic", None)):
        if number == 0:
            for _ in range(200):
                if len(database.limits) > 1:
                    break
                import time

                time.sleep(0.01)
            assert len(database.limits) == 2
            break
