"""A server with a new name: refused before anything is written, and renamed in every table."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cht_sync.__main__ import main
from cht_sync.check.couchdb import check_renamed
from cht_sync.couchdb.structs import Change, Refused
from cht_sync.errors import CheckpointConflictError, SettingsError, StoreError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.reconcile.report import _hidden
from cht_sync.reconcile.report import table as as_table
from cht_sync.reconcile.verify import verify
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.renaming import RenamingStore
from cht_sync.sync.rename_source import rename_sources
from cht_sync.tasks.sync import list_sources
from tests.integration.conftest import page_of
from tests.integration.operators.test_operator import Couch

pytestmark = pytest.mark.integration
OLD, NEW, THIRD = "old.example.org/medic", "new.example.org/medic", "third.example.org/medic"
# What has the name of a source in it and is no record of what happened under it.
NOT_RENAMED = {"couchdb_deployment"}


@pytest.fixture
def store(database):
    with RenamingStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        yield store


class Copied:
    """Writes pages of sources and looks at the rows."""

    def __init__(self, database, store):
        self.database, self.store, self.seqs = database, store, {}

    def write(self, source, *documents):
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            since = self.seqs.get(source)
            self.seqs[source] = f"{int((since or '0').split('-')[0]) + 1}-{source[0]}"
            return store.save(source, page_of(*documents, last_seq=self.seqs[source]), since)

    def rows(self):
        return self.database.rows(
            "select _id, source, _deleted, split_part(doc->>'_rev', '-', 2) from v1.couchdb order by 1"
        )

    def beside(self):
        return self.database.rows(
            "select _id, source, _deleted, split_part(doc->>'_rev', '-', 2) from v1.couchdb_collision order by 1, 2"
        )


@pytest.fixture
def copied(database, store):
    return Copied(database, store)


def doc(name, value, **fields):
    return {"_id": name, "_rev": f"1-{value}", "v": value, **fields}


def tables_with_a_source(database):
    return {
        name
        for (name,) in database.rows(
            "select table_name from information_schema.columns where table_schema = 'v1' and column_name = 'source'"
        )
    } - NOT_RENAMED


def fill(database, source):
    """A row of the source in every table that has none, whatever else it needs."""
    values = {
        "integer": "1",
        "bigint": "1",
        "boolean": "false",
        "bytea": "'k'",
        "jsonb": "'{}'",
        "uuid": "gen_random_uuid()",
    }
    for table in [*sorted(tables_with_a_source(database) - {"couchdb_quarantine_part"}), "couchdb_quarantine_part"]:
        needed = database.rows(
            "select column_name, data_type from information_schema.columns where table_schema = 'v1'"
            " and table_name = %s and (is_nullable = 'NO' and column_default is null or column_name = 'source')",
            table,
        )
        names = ", ".join(name for name, _ in needed)
        written = ", ".join(
            f"'{source}'" if name == "source" else values.get(kind, "now()" if "time" in kind else "'text'")
            for name, kind in needed
        )
        if not database.value(f"select count(*) from v1.{table} where source = %s", source):
            database.rows(f"insert into v1.{table} ({names}) values ({written})")


def test_every_table_follows(copied, store, database):
    copied.write(OLD, doc("a", "1"))
    fill(database, OLD)
    wanted = tables_with_a_source(database)
    assert {"couchdb", "couchdb_quarantine_part", "couchdb_window", "couchdb_reconciliation"} <= wanted
    before = database.value("select saved_timestamp from v1.couchdb where _id = 'a'")
    (done,) = store.rename([(OLD, NEW)])
    assert set(done.counts) == wanted
    assert min(done.counts.values()) >= 1
    for table in wanted:
        assert database.value(f"select count(*) from v1.{table} where source = %s", OLD) == 0, table
        assert database.value(f"select count(*) from v1.{table} where source = %s", NEW) == done.counts[table], table
    assert database.value("select saved_timestamp from v1.couchdb where _id = 'a'") > before
    assert store.checkpoint(NEW) == "1-o"


def test_what_fails_under_the_old_name_is_forgotten(copied, store, database):
    copied.write(OLD, doc("a", "1"))
    for subject in (OLD, THIRD):
        database.rows(
            "insert into v1.couchdb_task_error (dag_id, task_id, subject, message) values ('d', 't', %s, 'm')", subject
        )
    store.rename([(OLD, NEW)])
    assert database.rows("select subject from v1.couchdb_task_error") == [(THIRD,)]


def test_a_dry_run_changes_nothing(copied, store, database):
    copied.write(OLD, doc("a", "1"), doc("b", "1"))
    copied.write(NEW, doc("a", "2"))
    before = (copied.rows(), copied.beside(), store.sources())
    (found,) = store.would_rename([(OLD, NEW)])
    assert (found.counts["couchdb"], found.in_both, found.new_counts) == (2, 1, True)
    assert f"{OLD} -> {NEW}: 2 in couchdb" in str(found)
    assert "1 documents are there under both names" in str(found)
    assert (copied.rows(), copied.beside(), store.sources()) == before


def test_what_was_copied_under_the_new_name_counts(copied, store, database):
    """Its feed was read under the new name, and goes on from there."""
    copied.write(OLD, doc("a", "old"), doc("b", "old"), doc("gone", "old"))
    copied.write(NEW, doc("a", "new"), doc("c", "new"), doc("gone", "new", _deleted=True))
    store.rename([(OLD, NEW)])
    assert copied.rows() == [
        ("a", NEW, False, "new"),
        ("b", NEW, False, "old"),
        ("c", NEW, False, "new"),
        ("gone", NEW, True, "new"),
    ]
    assert copied.beside() == []
    assert (store.checkpoint(NEW), store.sources()) == ("1-n", {NEW})


def test_where_the_new_name_owns_rows_the_old_state_goes(copied, store):
    store.order_sources([NEW])
    copied.write(OLD, doc("a", "old"), doc("b", "old"))
    copied.write(NEW, doc("a", "new"))
    assert copied.beside() == [("a", OLD, False, "old")]
    store.rename([(OLD, NEW)])
    assert copied.rows() == [("a", NEW, False, "new"), ("b", NEW, False, "old")]
    assert copied.beside() == []


def test_a_first_load_that_has_not_ended_counts_less_than_what_the_old_name_had_read(copied, store, database):
    store.order_sources([NEW])
    copied.write(OLD, doc("a", "old"), doc("b", "old"))
    copied.write(NEW, doc("a", "new"), doc("c", "new"))
    database.rows("update v1.couchdb_progress set seq = null where source = %s", NEW)
    database.rows("insert into v1.couchdb_first_load (source, part, seq) values (%s, 'range 001', '9')", NEW)
    store.rename([(OLD, NEW)])
    assert copied.rows() == [("a", NEW, False, "old"), ("b", NEW, False, "old"), ("c", NEW, False, "new")]
    assert (copied.beside(), store.checkpoint(NEW)) == ([], "1-o")
    assert database.value("select count(*) from v1.couchdb_first_load") == 0


def test_beside_the_rows_of_a_third_source(copied, store):
    copied.write(THIRD, doc("a", "third"), doc("b", "third"), doc("c", "third"))
    copied.write(OLD, doc("a", "old"), doc("b", "old"))
    copied.write(NEW, doc("a", "new"))
    store.rename([(OLD, NEW)])
    assert [row[1] for row in copied.rows()] == [THIRD] * 3
    assert copied.beside() == [("a", NEW, False, "new"), ("b", NEW, False, "old")]


def test_the_new_name_takes_its_place_in_the_order(copied, store):
    store.order_sources([NEW, THIRD])
    copied.write(THIRD, doc("a", "third"))
    copied.write(OLD, doc("a", "old"))
    assert copied.rows() == [("a", THIRD, False, "third")]
    store.rename([(OLD, NEW)])
    assert copied.rows() == [("a", NEW, False, "old")]
    assert copied.beside() == [("a", THIRD, False, "third")]


def test_quarantine_follows(copied, store, database):
    state = store.state
    copied.write(OLD, doc("kept", "old"))
    copied.write(NEW, doc("stored", "new"))
    store.claim(OLD)
    refused = [Refused(Change(name), "Because.", body=b"{}") for name in ("only old", "stored", "both")]
    store.save_documents(OLD, [], refused, state(OLD))
    store.claim(NEW)
    store.save_documents(NEW, [], [Refused(Change("both"), "Newer.", body=b"{1}")], state(NEW))
    store.rename([(OLD, NEW)])
    assert database.rows("select source, _id, reason, resolved_at is null from v1.couchdb_quarantine order by _id") == [
        (NEW, "both", "Newer.", True),
        (NEW, "only old", "Because.", True),
        (NEW, "stored", "Because.", False),
    ]


STEPS = st.lists(
    st.tuples(st.sampled_from([OLD, NEW, THIRD]), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=10
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.permutations([NEW, THIRD]), st.booleans())
def test_each_document_is_there_once_under_each_name(store, database, steps, order, unread):
    database.rows("truncate v1.couchdb, v1.couchdb_collision, v1.couchdb_progress, v1.couchdb_source cascade")
    copied, states = Copied(database, store), {}
    store.order_sources(order)
    for number, (source, name, deleted) in enumerate(steps):
        copied.write(source, {"_id": name, "_rev": f"{number + 1}-{number}", "_deleted": deleted})
        states[source, name] = (deleted, str(number))
    if unread:
        database.rows("update v1.couchdb_progress set seq = null where source = %s", NEW)
    kept = NEW if (NEW in copied.seqs and not unread) or OLD not in copied.seqs else OLD
    lost = {OLD: NEW, NEW: OLD}[kept]
    wanted = {key: value for key, value in states.items() if key[0] == THIRD}
    for source in (lost, kept):
        wanted |= {(NEW, name): value for (whose, name), value in states.items() if whose == source}
    store.rename([(OLD, NEW)])
    store.close()  # with it go the claims
    found = [*copied.rows(), *copied.beside()]
    assert {(source, name): (deleted, value) for name, source, deleted, value in found} == wanted
    assert len(found) == len(wanted)
    owners = {name: source for name, source, *_ in copied.rows()}
    for name, owner in owners.items():
        held = {source: value for (source, each), value in wanted.items() if each == name}
        assert min((held[each][0], order.index(each)) for each in held) == (held[owner][0], order.index(owner))


# --- beside others -------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [OLD, NEW])
def test_a_source_that_is_being_written_is_not_renamed(copied, store, held):
    copied.write(OLD, doc("a", "1"))
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb"), "cht_sync test") as other:
        other.claim(held)
        with pytest.raises(CheckpointConflictError, match="being written by cht_sync test"):
            store.rename([(OLD, NEW)])
    assert store.sources() == {OLD}


def test_stamps_stay_in_order_beside_a_sync_of_another_source(copied, store, database):
    """What is stored while a source is renamed becomes visible behind it, with later stamps."""
    copied.write(OLD, *(doc(f"d{n}", "1") for n in range(50)))
    with closing(psycopg2.connect(database.dsn)) as blocker, blocker.cursor() as cursor:
        # The rename has its turn, and waits for a row.
        cursor.execute("select from v1.couchdb where _id = 'd7' for update")
        renaming = threading.Thread(target=store.rename, args=([(OLD, NEW)],))
        renaming.start()
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        until = time.monotonic() + 30
        while not database.value(waiting) and time.monotonic() < until:
            time.sleep(0.05)
        writing = threading.Thread(target=copied.write, args=(THIRD, doc("later", "1")))
        writing.start()
        time.sleep(0.5)
        assert database.value("select count(*) from v1.couchdb where source = %s", THIRD) == 0
        blocker.rollback()
        renaming.join()
        writing.join()
    renamed = database.value("select max(saved_timestamp) from v1.couchdb where source = %s", NEW)
    assert database.value("select saved_timestamp from v1.couchdb where source = %s", THIRD) > renamed
    assert database.value("select count(*) from v1.couchdb where source = %s", NEW) == 50


def test_all_or_nothing(copied, store, database):
    copied.write(OLD, doc("a", "1"), doc("b", "1"))
    database.rows(
        "create function mine() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger mine before update on v1.couchdb for each row when (old._id = 'b') execute function mine()"
    )
    with pytest.raises(StoreError, match="Trigger mine on v1.couchdb kept 1 of 2"):
        store.rename([(OLD, NEW)])
    assert {row[1] for row in copied.rows()} == {OLD}
    assert store.sources() == {OLD}


# --- the task, the command, verify ---------------------------------------------------------------


@pytest.fixture
def couch(couchdb_server, database, monkeypatch):
    for name, value in {
        "COUCHDB_HOST": "localhost",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.0)
    couch = Couch(couchdb_server)
    monkeypatch.setenv("COUCHDB_DBS", couch.name)
    couch.write(*({"_id": f"d{n}"} for n in range(300)), {"_id": "_design/medic"})
    copy(couch)
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    couch.old, couch.new = f"localhost/{couch.name}", f"127.0.0.1/{couch.name}"
    return couch


def copy(couch):
    return CouchDBToPostgresOperator(task_id="sync", database=couch.name).execute({})


def everything(database):
    return [
        database.rows(f"select count(*), max(t::text) from v1.{name} t")
        for name in sorted(tables_with_a_source(database))
    ]


def test_a_new_name_is_refused_before_anything_is_written(couch, database):
    couch.write({"_id": "one more"})
    before = everything(database)
    with pytest.raises(SettingsError) as told:
        copy(couch)
    said = str(told.value)
    assert f"rename-source {couch.old} {couch.new}`" in said
    assert f"rename_source={json.dumps({couch.old: couch.new})}" in said
    assert "'instance': \"localhost\" in the extra of connection 'cht_couchdb'" in said
    assert f"confirm_gone={json.dumps([couch.old])}" in said
    assert everything(database) == before


def test_check_tells_of_it(couch, database, monkeypatch):
    (finding,) = check_renamed(Settings())
    assert finding.state == "failed"
    assert f"rename-source {couch.old} {couch.new}`" in str(finding)
    list_sources.function({"rename_source": {couch.old: couch.new}})
    assert list(check_renamed(Settings())) == []
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert list(check_renamed(Settings())) == []


@pytest.mark.parametrize("how", ["command", "host", "param"])
def test_a_renamed_source_goes_on_where_it_was(couch, database, capsys, how):
    couch.write({"_id": "one more"})
    if how == "param":
        list_sources.function({"rename_source": {couch.old: couch.new}})
    else:
        names = (couch.old, couch.new) if how == "command" else ("localhost", "127.0.0.1")
        assert main(["rename-source", *names, "--dry-run"]) == 0
        assert f"Would rename {couch.old} -> {couch.new}: 301 in couchdb" in capsys.readouterr().out
        assert database.rows("select distinct source from v1.couchdb") == [(couch.old,)]
        assert main(["rename-source", *names]) == 0
        assert f"Renamed {couch.old} -> {couch.new}: 301 in couchdb" in capsys.readouterr().out
    summary = copy(couch)
    assert (summary["documents"], summary["rows"], summary["collisions"]) == (1, 1, 0)
    assert database.rows("select source, count(*) from v1.couchdb group by 1") == [(couch.new, 302)]
    lines = verify(Settings(), content=True)
    assert [(line.source, line.verdict, line.equal) for line in lines] == [(couch.new, "equal", True)]


@pytest.fixture
def new_server(copied, monkeypatch):
    """The databases ``medic`` and ``_users`` of a server with a new name; of the old one Postgres has one more."""
    monkeypatch.setenv("COUCHDB_HOST", "new.example.org")
    monkeypatch.setenv("COUCHDB_DBS", "medic,_users")
    copied.store.close()
    for name in ("medic", "_users", "dropped"):
        copied.write(f"old.example.org/{name}", doc(f"of {name}", "1"))
    return copied


def sources(copied):
    return dict(copied.database.rows("select _id, source from v1.couchdb"))


RENAMED = {
    "of medic": "new.example.org/medic",
    "of _users": "new.example.org/_users",
    "of dropped": "old.example.org/dropped",
}


def test_a_host_is_renamed_although_one_database_of_it_is_copied_no_more(new_server, caplog):
    assert len(rename_sources(Settings(), {"old.example.org": "new.example.org"}, dry_run=True)) == 2
    rename_sources(Settings(), {"old.example.org": "new.example.org"})
    assert sources(new_server) == RENAMED
    assert "Source old.example.org/dropped keeps its name, for new.example.org/dropped is not configured" in caplog.text
    assert 'confirm_gone=["old.example.org/dropped"]' in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        {"old.example.org": "new.example.org"},
        {"old.example.org/medic": "new.example.org/medic", "old.example.org/_users": "new.example.org/_users"},
    ],
    ids=["host", "databases"],
)
def test_a_task_that_is_tried_again_after_it_renamed_goes_on(new_server, caplog, names):
    for _ in range(2):
        assert len(list_sources.function({"rename_source": names})) == 2
        assert sources(new_server) == RENAMED
    assert "it is renamed already" in caplog.text
    with pytest.raises(SettingsError, match="'nobody/other' is not configured"):
        list_sources.function({"rename_source": {"old.example.org/dropped": "nobody/other"}})


@pytest.mark.parametrize("is_copied", [False, True])
def test_two_databases_do_not_become_one(new_server, monkeypatch, is_copied):
    if is_copied:
        new_server.write("new.example.org/medic", doc("x", "1"))
        monkeypatch.setenv("COUCHDB_DBS", "medic")
    with pytest.raises(SettingsError, match="different names.*the name 'new.example.org/_users'"):
        rename_sources(Settings(), {"old.example.org/_users": "new.example.org/medic"})


def test_a_database_may_have_a_new_name_as_well(new_server, monkeypatch):
    monkeypatch.setenv("COUCHDB_DBS", "medic-2")
    rename_sources(Settings(), {OLD: "new.example.org/medic-2"})
    assert sources(new_server)["of medic"] == "new.example.org/medic-2"


def test_older_revisions_are_accepted_of_configured_sources_alone(new_server):
    before = sources(new_server)
    with pytest.raises(SettingsError) as told:
        list_sources.function({"accept_older": [NEW, "medic"], "rename_source": {OLD: NEW}})
    assert str(told.value) == (
        "Param accept_older names 'medic', which is not configured: name sources as <host>/<database>, of"
        " 'new.example.org/_users', 'new.example.org/medic'."
    )
    assert sources(new_server) == before
    list_sources.function({"accept_older": [NEW]})


def test_verify_names_the_remedy_by_the_database(store, copied):
    """Rows of another database are no reason to make one of the two."""
    stored = SimpleNamespace(names=store._names, ask=store._session.ask)
    copied.write("old.example.org/_users", doc("a", "1"))
    copied.write(OLD, doc("b", "1"))
    copied.write(NEW, doc("a", "2"), doc("b", "2"))
    of_medic, of_users = sorted(_hidden(stored, NEW, [NEW]), key=lambda text: "_users" in text)
    assert f"`python -m cht_sync rename-source {OLD} {NEW}`" in of_medic
    assert "`python -m cht_sync rename-source old.example.org/_users <its new name>`" in of_users
    assert 'confirm_gone=["old.example.org/_users"]' in of_users


def test_the_namesake_is_offered_where_another_database_holds_the_documents_too(
    couchdb_server, couch, database, monkeypatch
):
    other = Couch(couchdb_server)
    monkeypatch.setenv("COUCHDB_DBS", f"{other.name},{couch.name}")
    other.write(*({"_id": f"d{n}"} for n in range(300)))
    with pytest.raises(SettingsError) as told:
        copy(other)
    assert f"rename-source {couch.old} {couch.new}`" in str(told.value)
    assert "(`rename-source localhost 127.0.0.1` for all its databases)" in str(told.value)


def test_the_old_name_as_instance_is_no_new_source(couch, database, monkeypatch):
    address = (
        f"http://{couch.session.auth[0]}:{couch.session.auth[1]}@127.0.0.1:{couch.url.split(':')[2].split('/')[0]}"
    )
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", f"{address}/?instance=localhost")
    couch.write({"_id": "one more"})
    assert copy(couch)["documents"] == 1
    assert database.rows("select distinct source from v1.couchdb") == [(couch.old,)]


def test_a_source_that_was_given_up_is_no_sign(couch, database):
    list_sources.function({"confirm_gone": [couch.old]})
    assert copy(couch)["rows"] >= 301
    assert database.rows("select distinct source, _deleted from v1.couchdb") == [(couch.new, False)]


def test_another_server_with_some_ids_in_common_is_copied(couchdb_server, couch, database, monkeypatch):
    other = Couch(couchdb_server)
    monkeypatch.setenv("COUCHDB_DBS", other.name)
    other.write(*({"_id": f"d{n}"} for n in range(200)), *({"_id": f"other {n}"} for n in range(100)))
    assert copy(other)["drained"]
    owners = database.rows("select source, count(*) from v1.couchdb group by 1 order by 2")
    # What is not configured any more comes last.
    assert owners == [(couch.old, 101), (f"127.0.0.1/{other.name}", 300)]


def test_a_second_server_beside_the_first_is_copied(couch, database, monkeypatch):
    """Both names are configured: that is meant."""
    monkeypatch.setattr("cht_sync.sync.source_sync.source_order", lambda settings: [couch.old, couch.new])
    assert copy(couch)["collisions"] == 301


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{new}", "{old}", "is configured still"),
        ("{old}", "nowhere/medic", "'nowhere/medic' is not configured.*give one of '{new}'"),
        ("nobody/medic", "{new}", "holds no source 'nobody/medic': give one of '{old}'"),
        ("nobody", "127.0.0.1", "holds no source of 'nobody': give the host of one of '{old}'"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(couch, database, old, new, words, capsys):
    names = {"old": couch.old, "new": couch.new}
    before = everything(database)
    with pytest.raises(SettingsError, match=words.format(**names)):
        rename_sources(Settings(), {old.format(**names): new.format(**names)})
    assert main(["rename-source", old.format(**names), new.format(**names)]) == 1
    assert everything(database) == before


def test_verify_does_not_say_equal_beside_a_source_that_nobody_copies(couch, database, monkeypatch):
    """As a copy was that met the new name before it was refused."""
    monkeypatch.setattr("cht_sync.sync.source_sync.check_not_renamed", lambda *_: None)
    monkeypatch.setattr("cht_sync.sync.source_sync.source_order", lambda settings: [])
    assert copy(couch)["collisions"] == 301
    lines = {line.source: line for line in verify(Settings(), content=False)}
    line = lines[couch.new]
    assert (line.verdict, line.equal, line.collision) == ("hidden", False, 301)
    assert (
        f"301 documents of {couch.new} are hidden by rows of {couch.old}, which is configured no more"
        in line.reasons[0]
    )
    assert "rename-source" in line.reasons[0]
    assert "hidden" in as_table(list(lines.values()))
    assert not lines[couch.old].equal
    assert "rename-source" in lines[couch.old].reasons[0]


def test_a_deletion_that_such_a_source_hides_is_told(couch, database, monkeypatch):
    monkeypatch.setattr("cht_sync.sync.source_sync.check_not_renamed", lambda *_: None)
    (rev,) = (each["_rev"] for each in couch.states().values() if each["_id"] == "d5")
    couch.write({"_id": "d5", "_rev": rev, "_deleted": True})
    assert copy(couch)["collisions"] == 1
    (line,) = (line for line in verify(Settings(), content=False) if line.source == couch.new)
    assert (line.verdict, line.equal) == ("hidden", False)
    assert line.reasons[0].startswith(f"1 documents of {couch.new} are hidden by rows of {couch.old}")
