"""Whatever happens to two databases that share ids, a drained copy is what CouchDB holds."""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.copying import TINY_BUDGET, Warehouse
from tests.integration.machine.odd_documents import ALL_FIELDS, IDS, KEPT_FIELDS, PLAIN_IDS, as_json
from tests.integration.machine.replicas import ReplicatedDatabase
from tests.integration.reconcile.proving import prove_all
from tests.oracle.oracle import CouchDB
from tests.servers import EVERYWHERE, mine

# What is covered is covered by the other tests; to trace these would cost as much time as they need.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.no_cover]
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "200"))
FEW_IDS = PLAIN_IDS[:4]
which = st.integers(0, 1)
place = st.integers(0, 30)
# Which database comes first; none where only the operators are told of them.
ORDERS = st.sampled_from([(), (0, 1), (1, 0)])
MISHAPS = st.lists(st.sampled_from(["cut", "back", "twice", "bare", "bare", "nodedown", ""]), max_size=3)
JSON = {"Content-Type": "application/json"}
_numbers = itertools.count(1)
_hashes = (f"{number:032x}" for number in itertools.count(1))


def thoroughly(examples):
    return settings(
        max_examples=max(1, examples),
        stateful_step_count=14,
        deadline=None,
        # To shrink would take longer than all examples; what failed is printed as it was.
        phases=[Phase.explicit, Phase.generate],
        derandomize=False,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@dataclass
class Leaf:
    """One end of a document's revision tree: the hashes from its revision back to the root."""

    generation: int
    hashes: tuple[str, ...]
    deleted: bool

    @property
    def rev(self):
        return f"{self.generation}-{self.hashes[0]}"

    @property
    def rank(self):
        return not self.deleted, self.generation, self.hashes[0]


class Database:
    """A database of the server; keeps the revision trees itself, so that many writes need one request."""

    def __init__(self, server):
        self._server = server
        self.name = server.new_database()
        self.leaves = {}
        self._writes = []
        self._unnamed = set()

    def winner(self, id):
        leaves = self.leaves.get(id)
        return max(leaves, key=lambda leaf: leaf.rank) if leaves else None

    def ids(self, *, deleted):
        return [id for id in self.leaves if self.winner(id).deleted is deleted]

    def write(self, id, fields, *, deleted=False):
        """A revision that follows the winning one, or the first."""
        self._settle(id)
        before = self.winner(id)
        generation, hashes = (before.generation, before.hashes) if before else (0, ())
        leaves = [leaf for leaf in self.leaves.get(id, ()) if leaf is not before]
        self._add(id, leaves, Leaf(generation + 1, (next(_hashes), *hashes), deleted), fields)

    def branch(self, id, generation, fields, *, deleted):
        """A revision that shares nothing with the others, as replication brings it."""
        self._settle(id)
        hashes = tuple(next(_hashes) for _ in range(generation))
        self._add(id, self.leaves.get(id, []), Leaf(generation, hashes, deleted), fields)

    def create_plainly(self, id, fields):
        """A first revision whose name the server chooses."""
        self._writes.append((id, False, f'{{"_id":{as_json(id)}{fields}}}'))
        self._unnamed.add(id)
        self.leaves[id] = [Leaf(1, ("",), False)]

    def _add(self, id, leaves, leaf, fields):
        self.leaves[id] = [*leaves, leaf]
        history = ",".join(f'"{each}"' for each in leaf.hashes)
        tree = f'"_revisions":{{"start":{leaf.generation},"ids":[{history}]}}'
        tombstone = ',"_deleted":true' if leaf.deleted else ""
        text = f'{{"_id":{as_json(id)},"_rev":"{leaf.rev}",{tree}{tombstone}{fields}}}'
        self._writes.append((id, True, text))

    def _settle(self, id):
        if id in self._unnamed:
            self.flush()

    def flush(self):
        for named, group in itertools.groupby(self._writes, key=lambda write: write[1]):
            texts = ",".join(text for _, _, text in group)
            answers = self._server.post(
                f"{self.name}/_bulk_docs", f'{{"new_edits":{"false" if named else "true"},"docs":[{texts}]}}'
            )
            for each in answers:
                generation, revision = each["rev"].split("-")
                self.leaves[each["id"]] = [Leaf(int(generation), (revision,), False)]
        self._writes, self._unnamed = [], set()


class Server:
    """The CouchDB-protocol server and the few calls the machine makes."""

    def __init__(self, server):
        self.url, self.auth = server.url, server.auth
        self.session = requests.Session()
        self.session.auth = server.auth
        # Databases are made before they are needed and dropped when nobody waits for it.
        self._aside = ThreadPoolExecutor(1)
        self._session_aside = requests.Session()
        self._session_aside.auth = server.auth
        self._made = deque(self._aside.submit(self._create) for _ in range(2))

    def _create(self):
        name = mine(f"machine-{next(_numbers)}")
        self._session_aside.put(f"{self.url}/{name}").raise_for_status()
        return name

    def new_database(self):
        self._made.append(self._aside.submit(self._create))
        return self._made.popleft().result()

    def post(self, path, text):
        response = self.session.post(f"{self.url}/{path}", data=text.encode(), headers=JSON, params=EVERYWHERE)
        response.raise_for_status()
        answers = response.json()
        assert not [each for each in answers if "error" in each], answers
        return answers

    def drop(self, name):
        self._aside.submit(self._session_aside.delete, f"{self.url}/{name}")

    def close(self):
        for made in self._made:
            self.drop(made.result())
        self._aside.shutdown()


class TwoDatabases(RuleBasedStateMachine):
    """Writes to two databases and copies them in any order; in the end both are drained and compared."""

    server: Server
    warehouse: Warehouse

    def __init__(self):
        super().__init__()
        self.warehouse.empty()
        self.databases = [Database(self.server), Database(self.server)]
        self.broken = False

    @initialize(by_ranges=st.booleans(), order=ORDERS)
    def choose(self, by_ranges, order):
        first_load(by_ranges)
        self.named, self.order = order_sources(self.databases, order), []

    @rule(order=ORDERS)
    def reorder(self, order):
        self.named = order_sources(self.databases, order)

    def _pick(self, which, place, *, deleted):
        """An id, every other time of those that are live in the other database too, for whose they are."""
        ids, others = (self.databases[each].ids(deleted=deleted) for each in (which, 1 - which))
        shared = [id for id in ids if id in others] if place % 2 else []
        # A precondition would make Hypothesis give up many an example.
        candidates = shared or ids or PLAIN_IDS
        return candidates[place // 2 % len(candidates)]

    @rule(which=which, id=IDS, fields=KEPT_FIELDS, plainly=st.booleans())
    def create(self, which, id, fields, plainly):
        database = self.databases[which]
        if plainly and id not in database.leaves:
            database.create_plainly(id, fields)
        else:
            database.write(id, fields)

    @rule(id=IDS, fields=st.tuples(KEPT_FIELDS, KEPT_FIELDS))
    def create_in_both(self, id, fields):
        for database, each in zip(self.databases, fields, strict=True):
            database.write(id, each)

    @rule(which=which, place=place, fields=KEPT_FIELDS)
    def edit(self, which, place, fields):
        self.databases[which].write(self._pick(which, place, deleted=False), fields)

    @rule(which=which, place=place, fields=st.just("") | KEPT_FIELDS)
    def delete(self, which, place, fields):
        self.databases[which].write(self._pick(which, place, deleted=False), fields, deleted=True)

    @rule(which=which, place=place, fields=KEPT_FIELDS)
    def resurrect(self, which, place, fields):
        self.databases[which].write(self._pick(which, place, deleted=True), fields)

    @rule(which=which, id=IDS, generation=st.integers(1, 4), fields=KEPT_FIELDS, deleted=st.booleans())
    def conflict(self, which, id, generation, fields, deleted):
        self.databases[which].branch(id, generation, fields, deleted=deleted)

    @rule(which=st.sampled_from([(0,), (1,), (0, 1), (1, 0)]), batch_size=st.integers(1, 50), brief=st.booleans())
    def sync(self, which, batch_size, brief):
        self.broken = True
        self.order = self.named or self.order  # a run takes it over
        for each in which:
            self.databases[each].flush()
            budget = TINY_BUDGET if brief else None
            self.warehouse.copy(self.databases[each].name, batch_size=batch_size, time_budget=budget)
        self.broken = False

    def teardown(self):
        try:
            if not self.broken:
                self.order = self.named or self.order
                for database in self.databases:
                    database.flush()
                    self.warehouse.drain(database.name)
                for database in self.databases:
                    states = CouchDB(self.server.url, self.server.auth, database.name, self.server.session)
                    self.warehouse.check(states, f"127.0.0.1/{database.name}", self.order)
        finally:
            for database in self.databases:
                self.server.drop(database.name)


class TwoDatabasesOfACluster(RuleBasedStateMachine):
    """The same on a cluster that mishaps befall, with documents that pouchdb-server would not keep as they are."""

    cluster: Cluster
    warehouse: Warehouse

    def __init__(self):
        super().__init__()
        self.warehouse.empty()
        self.cluster.databases.clear()
        self.databases = []
        self.broken = False

    @initialize(seed=st.integers(0, 2**16), at_last=MISHAPS, by_ranges=st.booleans(), order=ORDERS)
    def create_databases(self, seed, at_last, by_ranges, order):
        first_load(by_ranges)
        self.at_last = at_last
        self.databases = [ClusterDatabase(f"cluster-{next(_numbers)}", seed + n) for n in range(2)]
        self.cluster.databases.update((database.name, database) for database in self.databases)
        self.named, self.order = order_sources(self.databases, order), []

    @rule(order=ORDERS)
    def reorder(self, order):
        self.named = order_sources(self.databases, order)

    def _pick(self, which, place):
        """An id, every other time of those that are live in both databases, for whose they are."""
        docs, others = (self.databases[each].docs for each in (which, 1 - which))
        live = [id for id, state in docs.items() if not state.deleted]
        shared = [id for id in live if id in others and not others[id].deleted] if place % 2 else []
        candidates = shared or (live if place % 3 else list(docs)) or PLAIN_IDS
        return candidates[place // 2 % len(candidates)]

    def _write(self, which, id, fields, *, deleted=False):
        database = self.databases[which]
        before = database.docs.get(id)
        generation = int(before.rev.split("-")[0]) + 1 if before else 1
        rev = f"{generation}-{next(_hashes)}"
        tombstone = ',"_deleted":true' if deleted else ""
        # Bytes that are no text: as a latin-1 "é" of a client that was careless.
        raw = f'{{"_id":{as_json(id)},"_rev":"{rev}"{tombstone}{fields}}}'.encode().replace(b"INVALID", b"caf\xe9")
        database.put(id, rev, raw, deleted=deleted)

    @rule(which=which, id=IDS, fields=ALL_FIELDS)
    def write(self, which, id, fields):
        self._write(which, id, fields)

    @rule(id=IDS, fields=st.tuples(ALL_FIELDS, ALL_FIELDS))
    def write_to_both(self, id, fields):
        for each in range(2):
            self._write(each, id, fields[each])

    @rule(which=which, id=IDS, raw=st.sampled_from([b"[1]", b'"text"', b"5", b"true", b"[]"]))
    def write_no_object(self, which, id, raw):
        before = self.databases[which].docs.get(id)
        generation = int(before.rev.split("-")[0]) + 1 if before else 1
        self.databases[which].put(id, f"{generation}-{next(_hashes)}", raw)

    @rule(which=which, place=place, fields=ALL_FIELDS)
    def edit(self, which, place, fields):
        self._write(which, self._pick(which, place), fields)

    @rule(which=which, place=place, fields=st.just("") | ALL_FIELDS)
    def delete(self, which, place, fields):
        self._write(which, self._pick(which, place), fields, deleted=True)

    @rule(which=which, place=place)
    def lag(self, which, place):
        self.databases[which].lag(self._pick(which, place))

    @rule(
        which=st.sampled_from([(0,), (1,), (0, 1), (1, 0)]),
        batch_size=st.integers(1, 50),
        brief=st.booleans(),
        mishaps=MISHAPS,
    )
    def sync(self, which, batch_size, brief, mishaps):
        self.broken = True
        self.order = self.named or self.order  # a run takes it over
        for each in which:
            self.databases[each].mishaps.extend(mishaps)
            budget = TINY_BUDGET if brief else None
            self.warehouse.copy(self.databases[each].name, batch_size=batch_size, time_budget=budget)
        self.broken = False

    def teardown(self):
        if self.broken:
            return
        self.order = self.named or self.order
        for database in self.databases:
            database.mishaps.extend(self.at_last)
            self.warehouse.drain(database.name)
        for database in self.databases:
            self.warehouse.check(database, f"127.0.0.1/{database.name}", self.order)


class CopiesThatLag(RuleBasedStateMachine):
    """A database whose copies fall behind, are cut off and catch up: no row goes back to what it was before."""

    cluster: Cluster
    warehouse: Warehouse

    def __init__(self):
        super().__init__()
        self.warehouse.empty()
        self.cluster.databases.clear()
        self.broken = False
        self.stored = {}

    @initialize(seed=st.integers(0, 2**16), by_ranges=st.booleans())
    def create_database(self, seed, by_ranges):
        first_load(by_ranges)
        self.database = ReplicatedDatabase(f"replicated-{next(_numbers)}", seed)
        self.cluster.databases[self.database.name] = self.database
        self.source = f"127.0.0.1/{self.database.name}"
        self.write_all("")  # a copy without any document would be refused as an empty database

    def _write(self, id, fields, *, deleted=False):
        before = self.database.docs.get(id)
        generation = int(before.rev.split("-")[0]) + 1 if before else 1
        rev = f"{generation}-{next(_hashes)}"
        self.database.put(id, rev, _body(id, rev, fields, deleted), deleted=deleted)

    @rule(id=st.sampled_from(FEW_IDS), fields=KEPT_FIELDS)
    def write(self, id, fields):
        self._write(id, fields)

    @rule(id=st.sampled_from(FEW_IDS))
    def delete(self, id):
        self._write(id, "", deleted=True)

    @rule(id=st.sampled_from(FEW_IDS), generation=st.integers(1, 5), deleted=st.booleans(), fields=KEPT_FIELDS)
    def conflict(self, id, generation, deleted, fields):
        rev = f"{generation}-{next(_hashes)}"
        self.database.branch(id, rev, _body(id, rev, fields, deleted), deleted=deleted)

    @rule(fields=KEPT_FIELDS)
    def write_all(self, fields):
        for id in FEW_IDS:
            self._write(id, fields)

    @rule(number=st.integers(0, 2))
    def fall_behind(self, number):
        self.database.fall_behind(number)

    @rule()
    def catch_up(self):
        self.database.catch_up()

    @rule(
        alone=st.sampled_from([None, 0, 1, 2]),
        again=st.booleans(),
        batch_size=st.integers(1, 50),
        brief=st.booleans(),
        mishaps=MISHAPS,
    )
    def sync(self, alone, again, batch_size, brief, mishaps):
        """A run, maybe while one copy answers alone, or after a person has asked for all documents once more."""
        self.broken = True
        self.database.alone = alone
        self.database.mishaps.extend(mishaps)
        if again and self.warehouse.is_prepared:
            self.warehouse.run("delete from v1.couchdb_progress where source = %s", self.source)
        self.warehouse.copy(self.database.name, batch_size=batch_size, time_budget=TINY_BUDGET if brief else None)
        self._check_nothing_went_back()
        self.broken = False

    @rule(alone=st.sampled_from([None, 0, 1, 2]))
    def prove(self, alone):
        self.broken = True
        self.database.alone = alone
        self.database.mishaps.clear()
        if self.warehouse.is_prepared:
            prove_all(self.database.name, self.source)
        self._check_nothing_went_back()
        self.broken = False

    def _check_nothing_went_back(self):
        """Rows go through the states of their document in the order of these, and never to one they were in before."""
        for id, state in self.warehouse.revisions(self.source).items():
            before = self.stored.setdefault(id, [])
            if before and before[-1] == state:
                continue
            history = iter(self.database.history[id])
            followed = all(each in history for each in [*before, state])
            assert followed or (state not in before and _rank(state) > _rank(before[-1])), (id, before, state)
            before.append(state)

    def teardown(self):
        if self.broken:
            return
        self.database.catch_up()
        self.warehouse.drain(self.database.name)
        self._check_nothing_went_back()
        if os.environ["CHT_FIRST_LOAD_THRESHOLD"] != "0":
            # What a copy that lagged did not list is found by the proof that follows such a load.
            prove_all(self.database.name, self.source)
        self.warehouse.drain(self.database.name)
        self.warehouse.check(self.database, self.source)


def _body(id, rev, fields, deleted):
    tombstone = ',"_deleted":true' if deleted else ""
    return f'{{"_id":{as_json(id)},"_rev":"{rev}"{tombstone}{fields}}}'.encode()


def _rank(state):
    """The order of revisions, whatever else is known."""
    rev, _ = state
    return int(rev.split("-")[0]), rev


def first_load(by_ranges):
    """Whether databases without a checkpoint are loaded by ranges of ids; the fixture takes the variable back."""
    os.environ["CHT_FIRST_LOAD_THRESHOLD"] = "1" if by_ranges else "0"


def order_sources(databases, order):
    """Names the databases in this order to whatever runs next, or not at all; returns the names of the sources."""
    os.environ["COUCHDB_DBS"] = " ".join(databases[each].name for each in order)
    return [f"127.0.0.1/{databases[each].name}" for each in order]


@pytest.fixture
def warehouse(postgres_server, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "0")
    monkeypatch.setenv("CHT_FIRST_LOAD_CONNECTIONS", "2")
    monkeypatch.setenv("COUCHDB_DBS", "")
    # A second look at what differs waits for replicas that lag; here none does.
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.0)
    monkeypatch.setattr("cht_sync.sync.database_identity.SECOND_LOOK_S", 0.0)
    warehouse = Warehouse(postgres_server, monkeypatch)
    # Thousands of runs say nothing that the message of the one which failed does not.
    logging.disable(logging.CRITICAL)
    yield warehouse
    logging.disable(logging.NOTSET)
    warehouse.close()


def _point_at(monkeypatch, port, user, password):
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(port),
        "COUCHDB_USER": user,
        "COUCHDB_PASSWORD": password,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(3600)
def test_two_databases_of_one_server(couchdb_server, warehouse, monkeypatch):
    _point_at(monkeypatch, couchdb_server.port, couchdb_server.user, couchdb_server.password)
    server = Server(couchdb_server)
    machine = type("Machine", (TwoDatabases,), {"server": server, "warehouse": warehouse})
    run_state_machine_as_test(machine, settings=thoroughly(EXAMPLES * 3 // 5))
    server.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bodies", ["stub", "keep"])
def test_two_databases_of_a_cluster(warehouse, monkeypatch, bodies):
    monkeypatch.setenv("CHT_TOMBSTONE_BODIES", bodies)
    cluster = Cluster()
    _point_at(monkeypatch, cluster.port, "medic", "password")
    # What a cluster is given up for is not the subject; to wait between tries would be most of the time.
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: None))
    machine = type("Machine", (TwoDatabasesOfACluster,), {"cluster": cluster, "warehouse": warehouse})
    run_state_machine_as_test(machine, settings=thoroughly(EXAMPLES // 5))
    cluster.close()


@pytest.mark.timeout(3600)
def test_copies_that_lag(warehouse, monkeypatch):
    cluster = Cluster()
    _point_at(monkeypatch, cluster.port, "medic", "password")
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("cht_sync.sync.older_documents.PAUSE", timedelta())
    machine = type("Machine", (CopiesThatLag,), {"cluster": cluster, "warehouse": warehouse})
    run_state_machine_as_test(machine, settings=thoroughly(EXAMPLES * 2 // 5))
    cluster.close()
