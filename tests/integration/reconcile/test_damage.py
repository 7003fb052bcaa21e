"""Whatever damage is done to a copy, a proof finds all of it, repairs it, and raises no false alarm."""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.copying import Warehouse
from tests.integration.reconcile.proving import prove_all
from tests.oracle.oracle import Postgres, compare_states

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
EXAMPLES = int(os.environ.get("DAMAGE_EXAMPLES", "30"))
_numbers = itertools.count(1)
_hashes = (f"{number:032x}" for number in itertools.count(1))
# Each of them on the rows of some ids, which the test draws.
ON_ROWS = {
    "deleted": "delete from v1.couchdb where _id = any(%s)",
    "older": "update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '\"1-0\"') where _id = any(%s)",
    "altered": 'update v1.couchdb set doc = doc || \'{"n": "by hand"}\' where _id = any(%s)',
    "revived": "update v1.couchdb set _deleted = false where _id = any(%s) and _deleted",
    "buried": "update v1.couchdb set _deleted = true where _id = any(%s)",
}
KINDS = [*ON_ROWS, "purged", "lost window", "old Postgres", "old CouchDB"]


class Damaged:
    """A synced copy, and what befalls it."""

    def __init__(self, warehouse, cluster, seed):
        self.warehouse, self.cluster = warehouse, cluster
        warehouse.empty()
        cluster.databases.clear()
        self.couch = ClusterDatabase(f"damage-{next(_numbers)}", seed)
        cluster.databases[self.couch.name] = self.couch
        self.source, self.gone, self.restored = f"127.0.0.1/{self.couch.name}", set(), False
        for n in range(24):
            self.write(f"d{n:02}", n)
        self.sync()
        self.backup = self.couch.snapshot()
        for n in range(12, 30):
            self.write(f"d{n:02}", -n, deleted=n % 4 == 0)
        self.old = self.rows("select * from v1.couchdb"), self.rows("select seq from v1.couchdb_progress")[0][0]
        self.sync()

    def write(self, id, n, deleted=False):
        before = self.couch.docs.get(id)
        generation = int(before.rev.split("-")[0]) + 1 if before else 1
        rev = f"{generation}-{next(_hashes)}"
        fields = {"_id": id, "_rev": rev, **({"_deleted": True} if deleted else {}), "n": n}
        self.couch.put(id, rev, json.dumps(fields).encode(), deleted=deleted)

    def sync(self):
        self.warehouse.drain(self.couch.name)

    def rows(self, query, *values):
        with self.warehouse._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def do(self, kind, ids):
        """Damage of one kind."""
        if kind in ON_ROWS:
            self.rows(ON_ROWS[kind], ids)
        elif kind == "purged":
            for id in set(ids) & set(self.couch.docs):
                self.couch.purge(id)
                self.gone.add(id)
        elif kind == "lost window":
            self.rows(
                "delete from v1.couchdb t using (select stamp_from, stamp_to from v1.couchdb_window"
                " where stamp_from is not null order by started_at desc limit 1) w"
                " where t.saved_timestamp between w.stamp_from and w.stamp_to"
            )
        elif kind == "old Postgres":
            rows, seq = self.old
            self.rows("delete from v1.couchdb")
            for stamp, id, deleted, source, doc in rows:
                self.rows(
                    "insert into v1.couchdb values (%s, %s, %s, %s, %s)", stamp, id, deleted, source, json.dumps(doc)
                )
            self.rows("update v1.couchdb_progress set seq = %s", seq)
            # Both backups are of the same moment, so that nothing shows that CouchDB went back to it, and nothing need.
            self.restored = True
        else:
            name = self.couch.name
            self.couch = self.backup.snapshot()
            self.cluster.databases[name] = self.couch
            # What the only copy keeps to in two looks is what CouchDB holds; the sync finds its checkpoint by itself.
            assert not prove_all(name, self.source).bad
            self.restored = True
            self.sync()
            self.gone = set()

    def sync_beside(self):
        """A sync that does not wait for other sessions to be gone, as one beside a proof."""
        CouchDBToPostgresOperator(task_id="sync", database=self.couch.name).execute({})

    def prove(self):
        return prove_all(self.couch.name, self.source, compare_content=True)

    def check(self):
        """The oracle compares what CouchDB has; of what it has no more, a tombstone is right."""
        connection = self.warehouse._connection
        differences = compare_states(self.couch, Postgres(connection, self.source)).differences
        assert [each for each in differences if not each.endswith("but CouchDB does not know it")] == []
        unknown = self.rows(
            "select _id from v1.couchdb where not _deleted and not _id = any(%s)", list(self.couch.docs)
        )
        assert unknown == []


@pytest.fixture
def servers(postgres_server, monkeypatch):
    warehouse, cluster = Warehouse(postgres_server, monkeypatch), Cluster()
    for name, value in {
        "HOST": "127.0.0.1",
        "PORT": str(cluster.port),
        "USER": "medic",
        "PASSWORD": "password",
    }.items():
        monkeypatch.setenv(f"COUCHDB_{name}", value)
    monkeypatch.setenv("CHT_RECONCILE_RANGE", "7")
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: None))
    logging.disable(logging.CRITICAL)
    yield warehouse, cluster
    logging.disable(logging.NOTSET)
    cluster.close()
    warehouse.close()


ids = st.lists(st.sampled_from([f"d{n:02}" for n in range(30)]), min_size=1, max_size=8, unique=True)


def thoroughly(examples):
    return settings(
        max_examples=max(1, examples),
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def test_any_damage_is_repaired(servers):
    @thoroughly(EXAMPLES)
    @given(seed=st.integers(0, 99), damage=st.lists(st.tuples(st.sampled_from(KINDS), ids), min_size=1, max_size=4))
    def any_damage_is_repaired(seed, damage):
        damaged = Damaged(*servers, seed)
        for kind, some in damage:
            damaged.do(kind, some)
        summary = damaged.prove()
        assert not summary.bad, summary
        damaged.sync()
        damaged.check()
        again = damaged.prove()
        assert (again.bad, again.differences) == (False, 0)

    any_damage_is_repaired()


def test_no_false_alarm_beside_writers_and_syncs(servers):
    @thoroughly(EXAMPLES // 6)
    @given(seed=st.integers(0, 99), lost=ids)
    def no_false_alarm(seed, lost):
        damaged, stop = Damaged(*servers, seed), threading.Event()
        # Those that are lost are not written meanwhile: the feed would bring them.
        lost = [id for id in lost if id < "d15"]
        damaged.rows(ON_ROWS["deleted"], lost)

        def write_and_sync():
            for number in itertools.count():
                if stop.is_set():
                    return
                for n in range(15, 30):
                    damaged.write(f"d{n:02}", number, deleted=number % 3 == 0)
                damaged.sync_beside()

        writer = threading.Thread(target=write_and_sync)
        writer.start()
        try:
            found = [damaged.prove() for _ in range(2)]
        finally:
            stop.set()
            writer.join()
        assert [(each.bad, each.differences) for each in found] == [(False, len(lost)), (False, 0)]
        damaged.sync()
        damaged.check()

    no_false_alarm()
