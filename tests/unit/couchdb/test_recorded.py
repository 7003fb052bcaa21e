"""What the recorded answers of real servers show; none is kept that no test reads."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from cht_sync.couchdb.decode import decode_page
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.revisions import Leaf, generation
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import NotHandedOutError, RequestRefusedError
from cht_sync.sync.database_identity import number_of
from tests.unit.couchdb.test_structs import RECORDED, recorded
from tests.unit.scripted_server import Answer

TESTS = Path(__file__).parents[2]
A = "1-2e922d80744172040cf583d1059a45c8"
D = "2-eec205a9d413992850a6e32678485900"


def answer(name):
    """The recorded answer, with its status."""
    status = (RECORDED / f"{name}.http").read_bytes().split(b" ", 2)[1]
    return Answer(int(status), recorded(name))


def test_every_recorded_answer_is_read_by_a_test():
    tests = "\n".join(path.read_text() for path in TESTS.rglob("*.py"))
    names = [str(path.relative_to(RECORDED).with_suffix("")) for path in RECORDED.rglob("*.http")]
    assert len(names) > 30
    unread = [each for each in names if not re.search(rf'"(cluster/)?{each.removeprefix("cluster/")}"', tests)]
    assert unread == []


# --- copies of a cluster -----------------------------------------------------------------------


def test_a_copy_alone_goes_back_behind_a_checkpoint_and_says_so_by_no_word():
    before = decode_page(recorded("cluster/changes_checkpoint_before"))
    assert (before.results, before.pending, before.is_last) == ([], 0, True)
    alone = decode_page(recorded("cluster/changes_node3_alone"))
    # Everything is delivered again, 200 documents in all, and the number falls from 1200 to 90.
    assert (len(alone.results) + alone.pending, alone.is_last) == (200, False)
    assert (number_of(before.checkpoint), number_of(alone.checkpoint)) == (1200, 90)
    assert [(each.id, generation(each.rev)) for each in alone.results] == [("d0002", 6), ("d0003", 6)]


@pytest.mark.parametrize("name", ["doc_node3_alone", "doc_node3_alone_r3", "maintenance_doc"])
def test_a_document_is_handed_out_with_nodes_missing_as_with_all_of_them(couch, name):
    """Also where three copies were asked for and one answered: whole, with status 200."""
    recorded_answer = answer(f"cluster/{name}")
    couch.script = [recorded_answer]
    sink = io.BytesIO()
    rev = json.loads(recorded_answer.body)["_rev"]
    CouchDBHook(tolerance=0).body("recordc", Change("d0001", [Revision(rev)]), sink)
    assert recorded_answer.status == 200
    assert sink.getvalue() == recorded_answer.body
    # Edited five times while that node was down; the other is of a document that nobody has edited.
    assert (generation(rev), json.loads(sink.getvalue())["v"]) == ((1, 0) if name == "maintenance_doc" else (6, 5))
    assert len(couch.requests) == 1


def test_an_answer_of_one_copy_is_the_same_whatever_quorum_was_asked_for():
    assert recorded("cluster/doc_node3_alone") == recorded("cluster/doc_node3_alone_r3")


# --- one server --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("changes_bad_since", 400, "Malformed sequence"),
        ("changes_missing_database", 404, "Database does not exist."),
        ("changes_no_credentials", 401, "check COUCHDB_USER and COUCHDB_PASSWORD"),
    ],
)
def test_a_feed_that_is_refused_is_refused_for_good(couch, name, status, said):
    couch.script = [answer(name)]
    with pytest.raises(RequestRefusedError, match=said) as caught:
        CouchDBHook().changes("medic", "1-a", 10)
    assert caught.value.status == status


def test_a_wait_that_ends_without_a_change_is_the_end_of_the_feed():
    page = decode_page(recorded("changes_longpoll_timeout"))
    assert (page.results, page.is_last, number_of(page.checkpoint)) == ([], True, 12)


def test_a_page_of_no_changes_is_not_the_end_of_the_feed():
    page = decode_page(recorded("changes_limit_0"))
    assert (page.results, page.pending, page.is_last) == ([], 9, False)


def test_of_all_ends_of_a_document_the_feed_names_the_winner_first():
    page = decode_page(recorded("changes_style_all_docs"))
    (conflict,) = [each for each in page.results if len(each.changes) > 1]
    assert [each.rev for each in conflict.changes] == [
        "1-ffffffffffffffffffffffffffffffff", "1-27d8d42edd898d6cc57f80a80ef209fa"
    ]  # fmt: skip
    assert conflict.rev == conflict.changes[0].rev


def test_documents_by_id_are_the_bytes_that_came(couch):
    couch.script = [answer("bulk_get")]
    wanted = [Change(name, [Revision(rev)]) for name, rev in (("a", A), ("d", D), ("missing", "1-a"))]
    bodies = CouchDBHook().revisions("record", wanted, 10_000)
    assert bodies.keys() == {"a", "d"}
    assert b'"n":1.0e25,"f":1.0,"big":123456789012345678901234567890' in bodies["a"]
    assert json.loads(bodies["d"]) == {"_id": "d", "_rev": D, "_deleted": True}
    leaves = CouchDBHook().leaves("record", ["a", "d", "missing"], 10_000)
    assert leaves == {"a": [Leaf(A, False, frozenset({A}))], "d": [Leaf(D, True, frozenset({D}))], "missing": []}


@pytest.mark.parametrize(("name", "said"), [("doc_missing", "missing"), ("doc_deleted", "deleted")])
def test_a_document_that_is_not_there_is_no_failure_of_the_server(couch, name, said):
    couch.script = [answer(name)]
    with pytest.raises(NotHandedOutError, match=rf"404 \(not_found: {said}\)"):
        CouchDBHook().body("record", Change("a"), io.BytesIO())
    assert len(couch.requests) == 1


def test_a_purge_leaves_no_row_in_the_feed(couch):
    purged = answer("purge")
    assert (purged.status, json.loads(purged.body)["purged"]) == (201, {"a": [A]})
    assert "a" not in {each.id for each in decode_page(recorded("changes_after_purge")).results}
    couch.script = [answer("purged_infos")]
    assert CouchDBHook().purged("record") == ["a"]
