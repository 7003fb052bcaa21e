"""Of several sources that hold the same _id the first in the order of the settings has the row, whoever came first."""

from __future__ import annotations

import itertools
import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store import source_order
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.integration.operators.test_operator import Couch
from tests.integration.store.test_collisions import NORTH, SOUTH, WEST, Sources, doc, tombstone

pytestmark = pytest.mark.integration
ORDERS = list(itertools.permutations([NORTH, SOUTH]))


@pytest.fixture
def sources(store, database):
    return Sources(store, database)


@pytest.mark.parametrize("came", ORDERS)
@pytest.mark.parametrize("order", ORDERS)
def test_the_first_of_the_order_has_the_row_whoever_came_first(sources, store, order, came):
    store.order_sources(list(order))
    values = {NORTH: "n1", SOUTH: "s1"}
    first, second = came
    sources.write(first, doc(values[first]))
    stamp = sources.stamp()
    written = sources.write(second, doc(values[second]))
    owner, other = order
    assert (sources.row(), sources.beside()) == ((owner, False, values[owner]), {other: (False, values[other])})
    assert (written.rows, written.collisions) == ((1, 0) if second == owner else (0, 1))
    assert (sources.stamp() > stamp) == (second == owner)
    # Nothing flaps.
    stamp = sources.stamp()
    sources.write(first, doc(values[first]))
    sources.write(other, doc("newer"))
    assert sources.stamp() == stamp
    assert (sources.row(), sources.beside()) == ((owner, False, values[owner]), {other: (False, "newer")})


def test_a_document_that_lives_comes_before_a_tombstone_of_the_first(sources, store):
    store.order_sources([NORTH, SOUTH])
    sources.write(SOUTH, doc("s1"))
    sources.write(NORTH, tombstone("n1"))
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s1"), {NORTH: (True, "n1")})
    sources.write(NORTH, doc("n2"))
    assert (sources.row(), sources.beside()) == ((NORTH, False, "n2"), {SOUTH: (False, "s1")})
    sources.write(NORTH, tombstone("n3"))
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s1"), {NORTH: (True, "n3")})
    sources.write(SOUTH, tombstone("s2"))
    assert (sources.row(), sources.beside()) == ((NORTH, True, "n3"), {SOUTH: (True, "s2")})


def test_a_source_that_is_not_configured_comes_last_and_inherits_last(sources, store):
    store.order_sources([NORTH, SOUTH])
    sources.write(WEST, doc("w1"))
    sources.write(SOUTH, doc("s1"))
    assert sources.row() == (SOUTH, False, "s1")
    sources.write(NORTH, doc("n1"))
    assert sources.row() == (NORTH, False, "n1")
    sources.write(NORTH, tombstone("n2"))
    assert sources.row() == (SOUTH, False, "s1")
    sources.write(SOUTH, tombstone("s2"))
    assert sources.row() == (WEST, False, "w1")


def test_a_change_of_the_order_moves_rows(sources, store, database, monkeypatch):
    monkeypatch.setattr(source_order, "AT_A_TIME", 7)
    ids = [f"d{n}" for n in range(40)]
    store.order_sources([NORTH, SOUTH])
    sources.write(NORTH, *({"_id": name, "of": NORTH} for name in ids), {"_id": "only north"})
    sources.write(SOUTH, *({"_id": name, "of": SOUTH} for name in ids), {"_id": "dead", "_deleted": True})
    sources.write(NORTH, {"_id": "dead"})
    newest = database.value("select max(saved_timestamp) from v1.couchdb")
    assert store.order_sources([NORTH, SOUTH]) == 0
    assert store.order_sources([SOUTH, NORTH]) == 40
    assert store.order_sources([SOUTH, NORTH]) == 0
    owners = (
        "select source, doc->>'of', count(*), min(saved_timestamp) > %s from v1.couchdb group by 1, 2 order by 1, 2"
    )
    assert database.rows(owners, newest) == [(NORTH, None, 2, False), (SOUTH, SOUTH, 40, True)]
    beside = "select source, doc->>'of', count(*) from v1.couchdb_collision group by 1, 2 order by 1, 2"
    assert database.rows(beside) == [(NORTH, NORTH, 40), (SOUTH, None, 1)]
    # Who is taken out of the settings comes last.
    assert store.order_sources([NORTH]) == 40


def test_a_change_that_is_ended_halfway_is_brought_to_its_end(sources, store, database, monkeypatch):
    monkeypatch.setattr(source_order, "AT_A_TIME", 5)
    sources.write(NORTH, *({"_id": f"d{n}"} for n in range(20)))
    sources.write(SOUTH, *({"_id": f"d{n}"} for n in range(20)))
    move, calls = source_order.SourceOrder._move, itertools.count()

    def killed(self, cursor, after):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return move(self, cursor, after)

    with monkeypatch.context() as broken:
        broken.setattr(source_order.SourceOrder, "_move", killed)
        with pytest.raises(KeyboardInterrupt):
            store.order_sources([SOUTH, NORTH])
    assert database.value("select count(*) from v1.couchdb where source = %s", SOUTH) == 10
    assert store.order_sources([SOUTH, NORTH]) == 10
    assert database.value("select count(*) from v1.couchdb where source = %s", SOUTH) == 20


@pytest.mark.parametrize("order", ORDERS)
def test_a_race_ends_with_the_order(store, database, order):
    """Two sources write the same ids at the same time, and the order changes meanwhile."""
    ids = [f"d{n}" for n in range(60)]
    store.prepare()
    failed = []

    def write(source):
        try:
            with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as mine:
                since, chance = None, random.Random(source)
                for number in range(1, 31):
                    some = [{"_id": name, "_rev": f"{number}-a", "of": source} for name in chance.sample(ids, 20)]
                    mine.save(source, page_of(*some, last_seq=str(number)), since)
                    since = str(number)
                mine.save(source, page_of(*({"_id": each, "of": source} for each in ids), last_seq="end"), since)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(source,)) for source in (NORTH, SOUTH)]
    for thread in threads:
        thread.start()
    for each in (order[::-1], order):
        store.order_sources(list(each))
    for thread in threads:
        thread.join()
    assert failed == []
    assert database.rows("select source, doc->>'of', count(*) from v1.couchdb group by 1, 2") == [
        (order[0], order[0], 60)
    ]
    assert database.rows("select source, count(*) from v1.couchdb_collision group by 1") == [(order[1], 60)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([NORTH, SOUTH, WEST]), st.sampled_from("ab"), st.booleans()),
        st.lists(st.sampled_from([NORTH, SOUTH, WEST]), unique=True),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_comes_in_whatever_order_the_owner_is_the_first_that_lives(store, database, steps):
    database.rows("truncate v1.couchdb, v1.couchdb_collision, v1.couchdb_progress, v1.couchdb_source cascade")
    sources, order, states = Sources(store, database), [], {}
    for number, step in enumerate(steps):
        if isinstance(step, list):
            store.order_sources(order := step)
        else:
            source, name, deleted = step
            states.setdefault(name, {})[source] = (deleted, number)
            sources.write(source, {"_id": name, "_rev": f"{number + 1}-a", "_deleted": deleted, "v": number})
    value = "split_part(doc->>'_rev', '-', 2)::int"  # of a tombstone there is nothing else
    rows = {name: rest for name, *rest in database.rows(f"select _id, source, _deleted, {value} from v1.couchdb")}
    assert rows.keys() == states.keys()
    beside = database.rows(f"select _id, source, _deleted, {value} from v1.couchdb_collision")
    for name, (owner, *_) in rows.items():
        held = {owner: tuple(rows[name][1:]), **{s: (d, v) for i, s, d, v in beside if i == name}}
        assert held == states[name]
        assert len([1 for i, *_ in beside if i == name]) == len(held) - 1
        rank = {source: order.index(source) if source in order else 99 for source in held}
        assert min((held[s][0], rank[s]) for s in held) == (held[owner][0], rank[owner])


@pytest.mark.parametrize("first", [0, 1])
def test_the_order_of_couchdb_dbs_counts(couchdb_server, database, monkeypatch, first):
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(name, value)
    both = [Couch(couchdb_server), Couch(couchdb_server)]
    for couch in both:
        couch.write({"_id": "org.couchdb.user:a", "of": couch.name}, {"_id": couch.name})

    def copied(order):
        monkeypatch.setenv("COUCHDB_DBS", ", ".join(couch.name for couch in order))
        for couch in both:
            CouchDBToPostgresOperator(task_id="sync", database=couch.name).execute({})
        return database.value("select doc->>'of' from v1.couchdb where _id = 'org.couchdb.user:a'")

    order = both if first == 0 else both[::-1]
    assert copied(order) == order[0].name
    assert copied(order[::-1]) == order[1].name
    assert copied(order) == order[0].name
    assert database.value("select count(*) from v1.couchdb") == 3
