"""The embedded servers: started, stopped, killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
import requests

from include.demo import account, process
from include.demo.account import Account, readable_copy
from include.demo.errors import DemoError
from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
from tests.servers import mine

pytestmark = pytest.mark.integration
QUICK = {"fsync": "off"}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
# Started from a thread that ends, as a program that starts both at once would do.
PARENT = """
import sys, threading, time
from pathlib import Path
from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
folder = Path(sys.argv[1])
servers = [PostgresServer(folder / "postgres", settings={"fsync": "off"}), PouchDBServer(folder / "couchdb")]
threads = [threading.Thread(target=server.start) for server in servers]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
time.sleep(1)
print([server.port for server in servers], flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(server_folder: Path, request: pytest.FixtureRequest) -> Path:
    return server_folder / request.node.name.replace("[", "-").strip("]")


def query(server: PostgresServer, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.dsn(database))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def program(found: psutil.Process) -> str:
    """Return the file name of a process' program; the process itself may go by another name, as Node.js does."""
    return Path(found.exe()).name


def server_process(name: str, folder: Path) -> psutil.Process:
    """Return the process of a server of this test: a grandchild, its guard being between."""
    for found in psutil.Process().children(recursive=True):
        if program(found) == name and str(folder) in " ".join(found.cmdline()):
            return found
    raise AssertionError(f"no {name} on {folder}")


def test_postgres_second_start_is_quick_and_keeps_data_password_and_port(folder: Path) -> None:
    with PostgresServer(folder, settings=QUICK) as first:
        first.create_database('de"mo')
        first.create_database('de"mo')
        query(first, "CREATE TABLE kept AS SELECT 42 AS answer", 'de"mo')
    second = PostgresServer(folder, settings=QUICK)
    began = time.monotonic()
    with second:
        assert time.monotonic() - began < 10
        assert (second.port, second.password) == (first.port, first.password)
        assert query(second, "SELECT answer FROM kept", 'de"mo') == [(42,)]


@pytest.mark.embedded("postgres", "its own settings are looked at")
def test_postgres_wants_the_password_and_listens_to_this_machine_only(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres_server.dsn().replace(postgres_server.password, "wrong"))
    assert query(postgres_server, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert query(postgres_server, "SELECT auth_method FROM pg_hba_file_rules GROUP BY 1") == [("scram-sha-256",)]


def test_postgres_recovers_from_kill_9_though_its_process_id_is_in_use_again(folder: Path) -> None:
    with PostgresServer(folder, settings=QUICK) as server:
        query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        found = server_process("postgres", folder)
        pid_file = Path(found.cmdline()[2]) / "postmaster.pid"
        found.kill()
        psutil.wait_procs([found], timeout=10)
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with PostgresServer(folder, settings=QUICK) as server:
        assert query(server, "SELECT answer FROM kept") == [(42,)]


@pytest.mark.embedded("postgres", "its folder is looked at")
def test_folder_in_use_and_port_in_use_are_named(
    folder: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CLAIM_SECONDS", 0.2)
    second = PostgresServer(postgres_server.folder)
    with pytest.raises(DemoError, match="in use by a running server"):
        second.start()
    with pytest.raises(DemoError, match=f"Port {postgres_server.port}"):
        PostgresServer(folder, port=postgres_server.port).start()


def test_data_of_another_major_version_is_named(folder: Path) -> None:
    with PostgresServer(folder, settings=QUICK):
        found = server_process("postgres", folder)
        data = Path(found.cmdline()[2])
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DemoError, match="written by PostgreSQL 9"):
        PostgresServer(folder).start()


def test_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(DemoError, match="no_such_setting"):
        PostgresServer(folder, settings={"no_such_setting": "1"}).start()


@AS_ROOT
def test_postgres_below_a_closed_folder_keeps_its_data_elsewhere_until_removed(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    server = PostgresServer(folder / "inner", settings=QUICK)
    with server:
        data = Path(server_process("postgres", Path("cht-demo-")).cmdline()[2])
        assert data.is_relative_to(account.OUTSIDE)
    with server:
        assert query(server, "SELECT 1") == [(1,)]
    server.remove()
    assert not data.exists()
    assert not server.folder.exists()


@AS_ROOT
def test_programs_that_the_account_cannot_reach_are_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch, server_folder: Path
) -> None:
    monkeypatch.setattr(account, "OUTSIDE", server_folder)
    monkeypatch.setattr(Account, "can_run", lambda _self, program: program.is_relative_to(server_folder))
    for _ in range(2):
        with PostgresServer(folder, settings=QUICK) as server:
            assert Path(server_process("postgres", folder).exe()).is_relative_to(server_folder)
            assert query(server, "SELECT 1") == [(1,)]


@AS_ROOT
def test_copy_that_somebody_else_could_write_is_refused(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "OUTSIDE", server_folder)
    place = server_folder / "cht-demo-planted"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(DemoError, match="belongs to somebody else"):
        readable_copy([], "planted")


def test_couchdb_second_start_is_quick_and_keeps_data_password_and_port(folder: Path) -> None:
    with PouchDBServer(folder) as first:
        assert requests.put(f"{first.url}/medic", auth=first.auth, timeout=10).status_code == 201
        assert requests.put(f"{first.url}/medic/one", json={"a": 1}, auth=first.auth, timeout=10).ok
    began = time.monotonic()
    with PouchDBServer(folder) as second:
        assert time.monotonic() - began < 20
        assert (second.url, second.password) == (first.url, first.password)
        assert requests.get(f"{second.url}/medic/one", auth=second.auth, timeout=10).json()["a"] == 1


def test_couchdb_refuses_a_wrong_password(couchdb_server: PouchDBServer) -> None:
    answer = requests.get(f"{couchdb_server.url}/_all_dbs", auth=(mine("nobody-asks"), "wrong"), timeout=10)
    assert answer.status_code == 401


@pytest.mark.embedded("couchdb", "pouchdb-server never answers such a visitor")
def test_couchdb_survives_a_visitor_who_creates_a_database(couchdb_server: PouchDBServer) -> None:
    with pytest.raises(requests.ReadTimeout):
        requests.put(f"{couchdb_server.url}/visitor", timeout=1)
    assert requests.get(couchdb_server.url, auth=couchdb_server.auth, timeout=10).ok


@pytest.mark.embedded("couchdb", "its folder is looked at")
def test_couchdb_folder_is_closed_to_others(couchdb_server: PouchDBServer) -> None:
    assert couchdb_server.folder.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_killed_parent_leaves_no_server_behind_and_the_next_one_starts(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o711)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        ports = json.loads(parent.stdout.readline())
        servers = psutil.Process(parent.pid).children(recursive=True)
        assert {"postgres", "node"} <= {program(found) for found in servers}
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive
    with PostgresServer(folder / "postgres", settings=QUICK) as postgres, PouchDBServer(folder / "couchdb") as couchdb:
        assert [postgres.port, couchdb.port] == ports


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("kind", [PostgresServer, PouchDBServer])
def test_killed_guard_takes_its_server_along(folder: Path, kind: type[PostgresServer] | type[PouchDBServer]) -> None:
    server = kind(folder)
    with server:
        found = server_process("postgres" if kind is PostgresServer else "node", folder)
        os.kill(found.ppid(), signal.SIGKILL)
        _, alive = psutil.wait_procs([found], timeout=20)
        assert not alive
