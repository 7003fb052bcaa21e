"""A proof of contents knows stubs of deleted documents, and those that were stored whole."""

import pytest

from tests.integration.operators.test_operator import copy, couch  # noqa: F401
from tests.integration.reconcile.proving import prove_all

pytestmark = pytest.mark.integration
BODIES = {"stub": {}, "keep": {"why": "x" * 20}}


@pytest.fixture
def proven(couch, database, monkeypatch):  # noqa: F811
    """Copies, with deleted documents as it is said, and proves."""

    class Proven:
        def mode(self, bodies):
            monkeypatch.setenv("CHT_TOMBSTONE_BODIES", bodies)

        def prove(self, **params):
            return prove_all(couch.name, couch.source, compare_content=True, **params)

        def tombstones(self):
            return {
                name: {field: value for field, value in doc.items() if field not in {"_id", "_rev", "_deleted"}}
                for name, doc in database.rows("select _id, doc from v1.couchdb where _deleted")
            }

    revisions = dict(couch.write(*({"_id": f"d{n}"} for n in range(9))))
    couch.write(*({"_id": f"d{n}", "_rev": revisions[f"d{n}"], "_deleted": True, "why": "x" * 20} for n in range(6)))
    return Proven()


@pytest.mark.parametrize("bodies", BODIES)
def test_what_is_stored_as_wanted_is_equal(proven, couch, bodies):  # noqa: F811
    proven.mode(bodies)
    copy(couch)
    assert proven.prove().differing_parts == 0
    assert proven.tombstones() == {f"d{n}": BODIES[bodies] for n in range(6)}


def test_bodies_of_before_are_no_difference(proven, couch):  # noqa: F811
    proven.mode("keep")
    copy(couch)
    proven.mode("stub")
    summary = proven.prove()
    assert (summary.differences, summary.doubtful) == (0, 0)
    assert proven.tombstones() == {f"d{n}": BODIES["keep"] for n in range(6)}


@pytest.mark.parametrize("before", BODIES)
def test_what_is_neither_is_found_and_becomes_a_stub(proven, couch, database, before):  # noqa: F811
    proven.mode(before)
    copy(couch)
    proven.mode("stub")
    database.rows("update v1.couchdb set doc = doc || '{\"why\": \"by hand\"}' where _id in ('d1', 'd2')")
    summary = proven.prove(dry_run=True)
    assert (summary.differences, summary.repaired) == (2, 0)
    summary = proven.prove()
    assert (summary.differences, summary.repaired) == (2, 2)
    stubs = {"d1": {}, "d2": {}}
    assert proven.tombstones() == {f"d{n}": BODIES[before] for n in range(6)} | stubs
    assert proven.prove().differences == 0


def test_where_bodies_are_wanted_again_stubs_are_filled(proven, couch):  # noqa: F811
    proven.mode("stub")
    copy(couch)
    proven.mode("keep")
    assert proven.prove().repaired == 6
    assert proven.tombstones() == {f"d{n}": BODIES["keep"] for n in range(6)}
