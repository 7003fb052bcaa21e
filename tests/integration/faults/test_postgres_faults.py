"""What Postgres and the network before it do wrong, each at the worst moment."""

from __future__ import annotations

import itertools
import json
import resource
import threading
import time
from contextlib import closing, contextmanager

import psycopg2
import pytest
from airflow.sdk import Connection

from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.postgres import connection as postgres
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from include.demo.postgres import PostgresServer
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.rig import Couch, is_one_sentence, text
from tests.integration.conftest import page_of
from tests.integration.reconcile.proving import prove_all

pytestmark = pytest.mark.integration
COPY = b"PGCOPY\n"
UPSERT = b"on conflict (_id)"
COMMIT = b"COMMIT"
_numbers = itertools.count(1)


@pytest.fixture
def few(rig, monkeypatch):
    """Yield databases of which a part is copied and as much waits, so that a failure has something to lose."""
    patience(monkeypatch, 10.0)
    rig.couch.fill(60)
    rig.run(batch_size=20)
    rig.couch.write(*({"_id": f"later{n}", "text": text(300)} for n in range(60)))
    rig.batch_size = 20
    return rig


def patience(monkeypatch, seconds):
    """How long the store tries again."""
    defaults = DocumentStore.__init__.__defaults__
    monkeypatch.setattr(DocumentStore.__init__, "__defaults__", (defaults[0], seconds, *defaults[2:]))


def direct(rig, postgres_server):
    """A store that goes past the proxy."""
    fields = {"host": postgres_server.host, "port": postgres_server.port, "schema": rig.dsn.rpartition("/")[2]}
    account = {"login": postgres_server.user, "password": postgres_server.password}
    connection = Connection(conn_id="direct", conn_type="postgres", **fields, **account)
    return DocumentStore(connection, RawTable("v1", "couchdb"), "somebody else")


def assert_all_came_once(rig):
    assert rig.differences() == []
    # Nothing was written twice: a document that had been stored keeps its stamp, so one stamp is one page.
    pages = rig.rows("select saved_timestamp, count(*) from v1.couchdb where _id like 'later%%' group by 1")
    assert sum(count for _, count in pages) == 60


def trigger(rig, body, times=None):
    """Makes each statement that stores documents run something first; so many times, though it is rolled back."""
    rig.rows("create sequence times")
    rig.rows(
        "create function happen() returns trigger language plpgsql as $$ begin"
        f" if nextval('times') <= {times or 2**31} then {body} end if; return new; end $$;"
        " create trigger happen before insert on v1.couchdb for each row execute function happen()"
    )


def raises(code, words):
    return f"raise exception using errcode = '{code}', message = '{words}';"


# --- connections -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(match=COPY, forward=False, times=1),
        Fault(match=COPY, close_at=0, times=1),
        Fault(match=COPY, forward=False, reset=False, times=1),
        Fault(match=UPSERT, forward=False, times=1),
        Fault(match=UPSERT, close_at=0, times=1),
        Fault(match=COMMIT, after=COPY, forward=False, times=1),
        Fault(match=COMMIT, after=COPY, forward=False, reset=False, times=2),
        Fault(match=COMMIT, after=COPY, close_at=0, times=1),
        Fault(match=COMMIT, after=COPY, close_at=0, reset=False, times=3),
        Fault(match=COMMIT, after=COPY, close_at=3, times=1),
        Fault(latency=0.05),
        Fault(piece=256),
        Fault(bandwidth=20_000),
    ],
    ids=[
        "reset in COPY",
        "reset after COPY",
        "closed in COPY",
        "reset before the upsert",
        "reset after the upsert",
        "reset before COMMIT",
        "closed before COMMIT",
        "reset after COMMIT",
        "closed after every COMMIT",
        "reset in the answer to COMMIT",
        "latency",
        "pieces of 256 bytes",
        "bandwidth",
    ],
)
def test_a_connection_that_breaks_is_made_again(few, fault):
    few.sql.inject(fault)
    few.run()
    assert fault.hits > 0
    assert_all_came_once(few)


def test_a_commit_whose_answer_is_lost_counts_once(few):
    """What was committed is not sent again, and what the run reports is what it did."""
    log = "create table said (at timestamp, n serial); create function say() returns trigger language plpgsql as $$"
    log += " begin insert into said values (clock_timestamp()); return new; end $$; create trigger say after insert or"
    few.rows(f"{log} update on v1.couchdb for each row execute function say()")
    few.sql.inject(Fault(match=COMMIT, after=COPY, close_at=0, times=2))
    summary = few.run()
    assert (summary["documents"], summary["rows"]) == (60, 60)
    assert few.rows("select count(*) from said") == [(60,)]
    assert_all_came_once(few)


@pytest.mark.parametrize("match", [COPY, COMMIT], ids=["in COPY", "before COMMIT"])
def test_connections_that_always_break_are_told(few, monkeypatch, match):
    patience(monkeypatch, 0.5)
    before = few.state()
    fault = few.sql.inject(Fault(match=match, after=COPY, forward=False))
    with pytest.raises(StoreError) as caught:
        few.run()
    assert 1 < fault.hits < 100
    assert is_one_sentence(str(caught.value))
    assert f"127.0.0.1:{few.sql.port}" in str(caught.value)
    assert few.state() == before
    few.sql.clear()
    few.run()
    assert_all_came_once(few)


@pytest.mark.parametrize(
    "match",
    [
        b"application_name",
        b"couchdb_migration",
        b"until > now()",
        b"skip locked",
        b"sweep_after from",
        b"order by key",
    ],
    ids=[
        "begins",
        "prepares",
        "looks whether it is held back",
        "claims",
        "looks for the checkpoint",
        "looks into the quarantine",
    ],
)
def test_a_connection_that_breaks_before_the_first_page(few, match):
    fault = few.sql.inject(Fault(match=match, close_at=0, times=2))
    few.run()
    assert fault.hits == 2
    assert_all_came_once(few)


def test_a_server_that_comes_up_late(few):
    few.sql.refuse()
    timer = threading.Timer(1.0, few.sql.listen)
    timer.start()
    few.run()
    timer.join()
    assert_all_came_once(few)


def test_a_server_that_is_gone_is_told(few, monkeypatch):
    patience(monkeypatch, 0.5)
    before = few.state()

    def go():
        few.sql.refuse()

    few.sql.inject(Fault(match=COPY, forward=False, do=go))
    with pytest.raises(StoreError, match=r"Connection refused.*POSTGRES_HOST") as caught:
        few.run()
    assert is_one_sentence(str(caught.value))
    assert few.state() == before
    few.sql.clear()
    few.sql.listen()
    few.run()
    assert_all_came_once(few)


@pytest.fixture(scope="module")
def own_server(server_folder):
    """Yield a server that may be restarted, with the speed of the others."""
    with PostgresServer(server_folder / "restarted", settings={"fsync": "off", "synchronous_commit": "off"}) as server:
        yield server


@pytest.fixture
def restarted(rig, own_server, monkeypatch):
    """Yield what has the server restarted once it is asked for something, while something runs."""
    name = f"restart_{next(_numbers)}"
    own_server.create_database(name)
    monkeypatch.setenv("POSTGRES_PASSWORD", own_server.password)
    monkeypatch.setenv("POSTGRES_DB", name)
    rig.dsn, rig.batch_size = own_server.dsn(name), 20
    rig.couch.fill(100)

    def restart():
        own_server.stop()
        own_server.start()

    @contextmanager
    def restarted(match, after=b""):
        # In a thread of its own, so that the run meets a server that is ending, gone, and starting.
        thread = threading.Thread(target=restart)
        fault = sql.inject(Fault(match=match, after=after, times=1, do=thread.start))
        yield
        thread.join()
        assert fault.hits == 1

    with FaultProxy(own_server.host, own_server.port) as sql:
        monkeypatch.setenv("POSTGRES_PORT", str(sql.port))
        yield restarted


@pytest.mark.slow
@pytest.mark.parametrize("match", [COPY, UPSERT, COMMIT], ids=["in COPY", "in the upsert", "before COMMIT"])
def test_a_restart_of_the_server(rig, restarted, match):
    with restarted(match, after=COPY):
        rig.run()
    assert rig.differences() == []


@pytest.mark.slow
def test_a_restart_of_the_server_while_a_proof_reads(rig, restarted, monkeypatch):
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
    rig.run()
    damage(rig)
    with restarted(PROOF["comparison"]):
        summary = prove_all(rig.couch.name, rig.couch.source)
    assert (summary.bad, summary.repaired, rig.differences()) == (False, 2, [])


# --- while a proof reads -----------------------------------------------------------------------

PROOF = {
    "plan": b"interval_start, interval_end, first_key, end_key)", "part": b"first_key, end_key from", "database": b"instance_start_time, sweep_after from",
    "listing": b"into \"v1\".couchdb_listing", "comparison": b"with listed as", "quarantine": b"key = any(",
    "unlisted": b"enable_nestloop", "verdict": b"restamped =", "summary": b"array_remove(",
}  # fmt: skip


def damage(rig):
    rig.rows("update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '\"1-0\"') where _id in ('d0002', 'd0004')")


@pytest.mark.parametrize("forward", [True, False], ids=["answered", "asked"])
def test_a_proof_whose_connection_breaks_goes_on(rig, monkeypatch, forward):
    """Whatever it asks: once the answer is lost, once the question."""
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
    rig.couch.fill(60)
    rig.run()
    found = {}
    for name, match in PROOF.items():
        damage(rig)
        fault = rig.sql.inject(Fault(match=match, close_at=0, forward=forward, times=1))
        summary = prove_all(rig.couch.name, rig.couch.source)
        found[name] = (fault.hits, summary.bad, summary.repaired, rig.differences())
        rig.sql.clear()
    assert found == dict.fromkeys(PROOF, (1, False, 2, []))


# --- what Postgres refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("code", ["40P01", "40001", "53300"])
def test_what_passes_is_tried_again(few, code):
    trigger(few, raises(code, "once more"), times=2)
    few.run()
    assert few.rows("select last_value > 2 from times") == [(True,)]
    assert_all_came_once(few)


def test_a_deadlock(rig):
    """Somebody holds the last row of the page and wants the first; ours is the one that Postgres ends."""
    rig.couch = Couch(rig.couch.server, shards=1)
    revisions = rig.couch.write({"_id": "first"}, {"_id": "last"})
    rig.run()
    # One after the other: the feed, and with it the order of locks, is that of writing.
    rig.couch.write({"_id": "first", "_rev": revisions["first"], "edited": True})
    rig.couch.write({"_id": "last", "_rev": revisions["last"], "edited": True})
    blocked = (
        "select count(*) from pg_stat_activity where application_name like 'cht_sync%' and datname = current_database()"
        " and wait_event_type = 'Lock'"
    )
    with closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("set deadlock_timeout = '1min'; select from v1.couchdb where _id = 'last' for update")

        def want_the_other():
            while rig.rows(blocked) == [(0,)]:
                time.sleep(0.02)
            cursor.execute("select from v1.couchdb where _id = 'first' for update")
            conn.commit()

        other = threading.Thread(target=want_the_other)
        other.start()
        rig.run()
        other.join(10)
    assert rig.rows("select deadlocks from pg_stat_database where datname = current_database()") == [(1,)]
    assert rig.differences() == []


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        ("40P01", "deadlock detected", "deadlock detected"),
        ("53100", "could not extend file: No space left on device", "disk is full"),
        ("25006", "cannot execute INSERT in a read-only transaction", "read-only"),
        ("55P03", "canceling statement due to lock timeout", "lock"),
        ("XX001", "invalid page in block 7", "XX001: data corrupted"),
    ],
)
def test_what_does_not_pass_is_told_and_nothing_is_stored(few, monkeypatch, code, words, said):
    patience(monkeypatch, 0.5)
    before = few.state()
    trigger(few, raises(code, words))
    begun = time.monotonic()
    with pytest.raises(StoreError) as caught:
        few.run()
    assert time.monotonic() - begun < 10
    assert is_one_sentence(str(caught.value))
    assert said in str(caught.value)
    assert few.state() == before
    few.rows("drop trigger happen on v1.couchdb")
    few.run()
    assert_all_came_once(few)


def test_a_database_that_became_read_only(few, monkeypatch):
    patience(monkeypatch, 0.5)
    before, name = few.state(), few.dsn.rpartition("/")[2]
    few.rows(f"alter database {name} set default_transaction_read_only = on")
    with pytest.raises(StoreError, match="read-only") as caught:
        few.run()
    assert is_one_sentence(str(caught.value))
    assert few.state() == before
    few.rows(f"set transaction read write; alter database {name} reset default_transaction_read_only")
    few.run()
    assert_all_came_once(few)


@pytest.mark.slow
def test_files_that_cannot_grow(rig, server_folder, monkeypatch):
    """Real writes fail: the server may not make a file larger than 17 MB, as if the disk ended there."""
    patience(monkeypatch, 0.5)
    server = PostgresServer(server_folder / "small", settings={"fsync": "off", "synchronous_commit": "off"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The limit is inherited, so that neither root nor a file system of our own is needed.
    resource.setrlimit(resource.RLIMIT_FSIZE, (17 * 1024 * 1024, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for variable, value in {"PORT": str(server.port), "PASSWORD": server.password, "DB": "postgres"}.items():
        monkeypatch.setenv(f"POSTGRES_{variable}", value)
    rig.dsn, rig.batch_size = server.dsn(), 5
    for n in range(30):
        rig.couch.write({"_id": f"large{n}", "text": text(1_000_000)})
    try:
        with pytest.raises(StoreError, match="could not extend file") as caught:
            rig.run()
        assert is_one_sentence(str(caught.value))
        # What was stored before is stored with its checkpoint, and there is something.
        assert len(rig.stored()) == 30 - len(rig.couch.ids_after(rig.checkpoint()))
        assert 0 < len(rig.stored()) < 30
        server.stop()
        server.start()
        rig.run()
        assert rig.differences() == []
    finally:
        server.stop()


def test_a_statement_that_takes_too_long(few, monkeypatch):
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", "300ms")
    patience(monkeypatch, 0.5)
    before = few.state()
    trigger(few, "perform pg_sleep(0.6);")
    with pytest.raises(StoreError, match=r"57014.*statement timeout") as caught:
        few.run()
    assert is_one_sentence(str(caught.value))
    assert few.state() == before
    few.rows("drop trigger happen on v1.couchdb")
    few.run()
    assert_all_came_once(few)


# --- writers that believe they are the one ------------------------------------------------------


@pytest.mark.parametrize("stays", [True, False], ids=["holds the source", "has ended"])
@pytest.mark.parametrize("match", [COPY, COMMIT], ids=["in COPY", "before COMMIT"])
def test_a_writer_that_lost_its_claim_does_not_write(few, postgres_server, monkeypatch, match, stays):
    """Its session is ended, another writer takes over and stores a page; what the first has in hand is stale."""
    patience(monkeypatch, 1.0)
    since = few.checkpoint()
    other = direct(few, postgres_server)
    taken = []

    def take_over():
        few.rows(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
            " and application_name like 'cht_sync %%'"
        )
        other.claim(few.couch.source)
        other.save(few.couch.source, page_of({"_id": "theirs", "_rev": "1-a"}, last_seq="theirs"), since)
        taken.append(few.state())
        if not stays:
            other.close()

    few.sql.inject(Fault(match=match, after=COPY, times=1, do=take_over))
    with other:
        with pytest.raises(StoreError) as caught:
            few.run()
        assert isinstance(caught.value, CheckpointConflictError) or "is being written by somebody else" in str(
            caught.value
        )
        assert is_one_sentence(str(caught.value))
        assert [few.state()] == taken


def test_a_session_that_is_ended_is_made_again(few):
    fault = Fault(
        match=UPSERT,
        times=1,
        do=lambda: few.rows(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
            " and application_name like 'cht_sync %%'"
        ),
    )
    few.sql.inject(fault)
    few.run()
    assert fault.hits == 1
    assert_all_came_once(few)


def test_options_of_the_connection_reach_postgres(few, postgres_server, monkeypatch):
    """What a person sets as ``options`` holds, beside the limits that the project sets itself."""
    fields = {"conn_type": "postgres", "host": "127.0.0.1", "port": few.sql.port, "schema": few.dsn.rpartition("/")[2]}
    account = {"login": postgres_server.user, "password": postgres_server.password}
    extra = {"options": "-c default_transaction_read_only=on"}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", json.dumps({**fields, **account, "extra": extra}))
    patience(monkeypatch, 0.3)
    before = few.state()
    with pytest.raises(StoreError, match="read-only"):
        few.run()
    assert few.state() == before
