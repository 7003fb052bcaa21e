"""Whatever happens to two databases that share ids, a drained copy is what CouchDB holds."""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.copying import TINY_BUDGET, Warehouse
from tests.integration.machine.odd_documents import ALL_FIELDS, IDS, KEPT_FIELDS, PLAIN_IDS, as_json
from tests.oracle.oracle import CouchDB

# What is covered is covered by the other tests; to trace these would cost as much time as they need.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.no_cover]
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "500"))
which = st.integers(0, 1)
place = st.integers(0, 30)
MISHAPS = st.lists(st.sampled_from(["cut", "back", "twice", "bare", "bare", ""]), max_size=3)
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
        name = f"machine-{next(_numbers)}"
        self._session_aside.put(f"{self.url}/{name}").raise_for_status()
        return name

    def new_database(self):
        self._made.append(self._aside.submit(self._create))
        return self._made.popleft().result()

    def post(self, path, text):
        response = self.session.post(f"{self.url}/{path}", data=text.encode(), headers=JSON)
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

    @initialize(by_ranges=st.booleans())
    def choose(self, by_ranges):
        first_load(by_ranges)

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
        for each in which:
            self.databases[each].flush()
            budget = TINY_BUDGET if brief else None
            self.warehouse.copy(self.databases[each].name, batch_size=batch_size, time_budget=budget)
        self.broken = False

    def teardown(self):
        try:
            if not self.broken:
                for database in self.databases:
                    database.flush()
                    self.warehouse.drain(database.name)
                for database in self.databases:
                    states = CouchDB(self.server.url, self.server.auth, database.name, self.server.session)
                    self.warehouse.check(states, f"127.0.0.1/{database.name}")
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

    @initialize(seed=st.integers(0, 2**16), at_last=MISHAPS, by_ranges=st.booleans())
    def create_databases(self, seed, at_last, by_ranges):
        first_load(by_ranges)
        self.at_last = at_last
        self.databases = [ClusterDatabase(f"cluster-{next(_numbers)}", seed + n) for n in range(2)]
        self.cluster.databases.update((database.name, database) for database in self.databases)

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
        for each in which:
            self.databases[each].mishaps.extend(mishaps)
            budget = TINY_BUDGET if brief else None
            self.warehouse.copy(self.databases[each].name, batch_size=batch_size, time_budget=budget)
        self.broken = False

    def teardown(self):
        if self.broken:
            return
        for database in self.databases:
            database.mishaps.extend(self.at_last)
            self.warehouse.drain(database.name)
        for database in self.databases:
            self.warehouse.check(database, f"127.0.0.1/{database.name}")


def first_load(by_ranges):
    """Whether databases without a checkpoint are loaded by ranges of ids; the fixture takes the variable back."""
    os.environ["CHT_FIRST_LOAD_THRESHOLD"] = "1" if by_ranges else "0"


@pytest.fixture
def warehouse(postgres_server, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "0")
    monkeypatch.setenv("CHT_FIRST_LOAD_CONNECTIONS", "2")
    # A second look at what differs waits for replicas that lag; here none does.
    monkeypatch.setattr("cht_sync.reconcile.comparison.SECOND_LOOK_S", 0.0)
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
