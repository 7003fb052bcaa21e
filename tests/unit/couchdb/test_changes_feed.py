import json
import logging
from itertools import pairwise

import pytest

from cht_sync.common import retry
from cht_sync.common.retry import patiently
from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.adaptive_reader import TARGET
from cht_sync.couchdb.changes_feed import ChangesFeed
from cht_sync.couchdb.decode import decode_page
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import BrokenAnswerError, CouchDBError, NotHandedOutError

CAP = 4 * TARGET


class Database:
    """Answers as a hook does, from a list of documents; sizes are said, not built."""

    def __init__(self, sizes, counts_pending=True):
        self.sizes, self.counts_pending = sizes, counts_pending
        self.limits = []
        self.bodies = {}
        self.breaks = lambda start, end: False

    def patiently(self, call):
        def is_passing(error):
            return isinstance(error, CouchDBError)

        return patiently(call, is_passing, 0.0, logging.getLogger(__name__))

    def changes(self, database, since, limit, most_bytes, bodies=True):
        assert database == "medic"
        start = int((since or "0").partition("-")[0])
        sizes = self.sizes[start : start + limit]
        end = start + len(sizes)
        if bodies:
            self.limits.append(limit)
            if sum(sizes) > most_bytes:
                raise PageTooLargeError(most_bytes)
            if self.breaks(start, end):
                raise BrokenAnswerError("cut")
        rows = [self.row(number) for number in range(start, end)]
        if not bodies:
            rows = [{**row, "doc": None} for row in rows]
        answer = {"results": rows, "last_seq": f"{end}-x"}
        if self.counts_pending:
            answer["pending"] = len(self.sizes) - end
        page = decode_page(json.dumps(answer).encode())
        page.size = sum(sizes) if bodies else 100
        return page

    def row(self, number):
        return {"id": str(number), "changes": [{"rev": "1-x"}], "doc": {"_id": str(number)}}

    def database(self, name):
        """It answers, so that what fails is a document's fault."""

    def states(self, database, ids, patient=True):
        return [Change(id=each, changes=[Revision("1-x")] if each in self.bodies else []) for each in ids]

    def body(self, database, change, sink):
        body = self.bodies.get(change.id)
        if body is None:
            raise NotHandedOutError("gone")
        sink.write(body)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.001)


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
    assert max(page.size for page in pages) <= CAP
    assert max(page.size for page in pages[5:]) <= TARGET


def test_documents_that_grow_suddenly_do_not_fill_the_memory():
    sizes = [500] * 5000 + [6_000_000] * 30 + [500] * 5000
    database = Database(sizes)
    pages = list(ChangesFeed(database, "medic", None))
    assert sum(len(page.results) for page in pages) == len(sizes)
    assert max(page.size for page in pages) <= CAP


def test_one_document_above_the_cap_is_held_with_its_bytes():
    database = Database([100, 3 * MEGABYTE, 100])
    database.bodies = {"1": b"x" * 3 * MEGABYTE}
    pages = list(ChangesFeed(database, "medic", None, most_bytes=2 * MEGABYTE))
    assert [change.id for page in pages for change in page.results] == ["0", "2"]
    ((refused),) = [held for page in pages for held in page.refused]
    assert (refused.change.id, refused.change.rev) == ("1", "1-x")
    assert refused.reason == "The document has 3.0 MB; CHT_SYNC_MAX_MB=2 allows no more."
    assert refused.body.read() == b"x" * 3 * MEGABYTE
    assert pages[-1].checkpoint == "3-x"


def test_above_the_cap_the_limit_halves():
    database = Database([1_000_000] * 200)
    list(ChangesFeed(database, "medic", None))
    assert database.limits[:2] == [100, 50]


def test_time_outs_halve_the_page_and_good_pages_add_to_it():
    database = Database([10] * 20_000)
    database.breaks = lambda start, end: end - start > 200
    pages = list(ChangesFeed(database, "medic", None, batch_size=1000))
    assert sum(len(page.results) for page in pages) == 20_000
    limits = database.limits
    for before, after in pairwise(limits):
        if before > 200:
            assert after == before // 2
        else:
            assert after <= max(before + 50, 4 * before if limits.index(before) == 0 else 0)


def test_a_document_that_breaks_every_page_is_fetched_by_id():
    database = Database([10] * 300)
    database.breaks = lambda start, end: start <= 150 < end
    database.bodies = {"150": b'{"_id":"150","_rev":"1-x","n":1}'}
    pages = list(ChangesFeed(database, "medic", None))
    found = [change for page in pages for change in page.results]
    assert [change.id for change in found] == [str(number) for number in range(300)]
    assert bytes(found[150].doc) == database.bodies["150"]


def test_a_document_that_nothing_brings_is_held_and_the_feed_goes_on():
    database = Database([10] * 300)
    database.breaks = lambda start, end: start <= 150 < end
    pages = list(ChangesFeed(database, "medic", None))
    assert sum(len(page.results) for page in pages) == 299
    ((refused),) = [held for page in pages for held in page.refused]
    assert (refused.change.id, refused.reason) == ("150", "CouchDB does not hand the document out: gone")


def test_a_server_whose_answers_all_break_off_stops_the_feed():
    database = Database([10] * 300)
    database.breaks = lambda start, end: True

    def breaks_off(*arguments):
        raise BrokenAnswerError("cut")

    database.body = breaks_off
    pages = iter(ChangesFeed(database, "medic", None))
    assert [next(pages).refused[0].change.id for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(BrokenAnswerError, match="hands out none of the last 4 documents"):
        next(pages)


def test_a_server_that_goes_down_between_page_and_document_blames_no_document():
    database = Database([10] * 30)
    database.row = lambda number: {"id": str(number), "changes": [{"rev": "1-x"}], "doc": None}
    database.states = lambda name, ids, patient: [Change(id=each, changes=[Revision("1-x")]) for each in ids]

    def down(*arguments):
        raise CouchDBError("503")

    database.body = down
    with pytest.raises(CouchDBError, match="503"):
        list(ChangesFeed(database, "medic", None))


@pytest.mark.parametrize(
    "body", [b'{"_id":"other","_rev":"1-x"}', b'{"_id":"0","_rev":"2-x"}', b'{"_id":"0","_rev"', b"[]"]
)
def test_something_else_is_not_taken_for_the_document(body):
    database = Database([1000])
    database.row = lambda number: {"id": "0", "changes": [{"rev": "1-x"}], "doc": None}
    database.bodies = {"0": body}
    (page,) = ChangesFeed(database, "medic", None)
    ((held),) = page.refused
    assert (held.reason, held.body) == ("CouchDB hands out something else than the document.", body)


def test_a_replica_that_lags_does_not_bring_an_older_revision():
    database = Database([1000])
    database.row = lambda number: {"id": "0", "changes": [{"rev": "3-new"}], "doc": None}
    database.states = lambda name, ids, patient: [Change(id="0", changes=[Revision("1-x")])]
    database.bodies = {"0": b'{"_id":"0","_rev":"3-new"}'}
    (page,) = ChangesFeed(database, "medic", None)
    assert [change.rev for change in page.results] == ["3-new"]


def test_documents_fetched_by_id_do_not_fill_the_memory():
    database = Database([100] * 300)
    database.row = lambda number: {"id": str(number), "changes": [{"rev": "1-x"}], "doc": None}
    filler = b"x" * 1_000_000
    database.bodies = {str(n): b'{"_id":"%d","_rev":"1-x","t":"%s"}' % (n, filler) for n in range(300)}
    pages = [(len(page.results), page.size) for page in ChangesFeed(database, "medic", None)]
    assert sum(documents for documents, _ in pages) == 300
    assert max(size for _, size in pages) <= CAP + 1_000_000


def test_a_server_that_is_down_stops_the_feed():
    database = Database([10] * 300)

    def down(*arguments, **options):
        raise BrokenAnswerError("down")

    database.changes = down
    with pytest.raises(BrokenAnswerError, match="down"):
        list(ChangesFeed(database, "medic", None))


def test_a_row_without_its_document_is_fetched_again():
    database = Database([1000] * 3)
    database.row = lambda number: {"id": str(number), "changes": [], "doc": None}
    database.bodies = {str(n): f'{{"_id":"{n}","_rev":"1-x"}}'.encode() for n in range(3)}
    (page,) = ChangesFeed(database, "medic", None)
    assert [bytes(change.doc) for change in page.results] == list(database.bodies.values())
    assert [change.rev for change in page.results] == ["1-x"] * 3


def test_a_document_that_is_not_handed_out_is_held_with_what_the_server_said():
    database = Database([1000] * 3)
    database.row = lambda number: {"id": f"doc{number}", "changes": [{"rev": "4-x"}], "error": "shard down"}
    (page,) = ChangesFeed(database, "medic", None)
    assert page.results == []
    assert [(held.change.id, held.change.rev) for held in page.refused] == [(f"doc{n}", "4-x") for n in range(3)]
    assert page.refused[0].reason == 'CouchDB has no body of the document: "shard down".'


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
