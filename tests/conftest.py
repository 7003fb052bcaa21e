"""Servers that the tests share: embedded ones, started at first use and ended with the run, or those that are given."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import hypothesis
import psutil
import psycopg2
import pytest
from psycopg2 import sql

from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
from tests.servers import GIVEN, GivenCouchDB, GivenPostgres, given

MEMORY = Path("/dev/shm")
# Bytes for each process of pytest, of which a few hundred megabytes are used.
PLENTY = 6 * 2**30

# How long an example takes depends on what else this machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs an embedded server where another one is given."""
    for item in items:
        for mark in item.iter_markers("embedded"):
            kind, why = mark.args
            if given(kind):
                item.add_marker(pytest.mark.skip(reason=f"needs the embedded server, not {GIVEN[kind]}: {why}"))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Yield a folder for servers; pytest's own are closed to the account PostgreSQL drops to when run by root."""
    folder = Path(tempfile.mkdtemp(prefix="cht-sync-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def quick_folder(server_folder: Path) -> Iterator[Path]:
    """Yield a folder in memory where that is plenty, or each file of a new database waits for the disk."""
    if not MEMORY.is_dir() or min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < PLENTY:
        yield server_folder
        return
    folder = Path(tempfile.mkdtemp(prefix="cht-sync-tests-", dir=MEMORY))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(quick_folder: Path) -> Iterator[PostgresServer | GivenPostgres]:
    """Yield a running PostgreSQL server; take a database of your own by `create_database`, named by `mine`."""
    if url := given("postgres"):
        with GivenPostgres(url) as server:
            yield server
        return
    quick = {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        # Else a worker looks through one of the many databases every other moment.
        "autovacuum": "off",
        "scram_iterations": "1",
        # What was written is taken away with each database; the log of it would only fill the memory.
        "max_wal_size": "256MB",
    }
    with ExitStack() as stack:
        server = PostgresServer(quick_folder / "postgres", settings=quick)
        # Not ended in good order: that would first write hundreds of databases to disk.
        stack.callback(server.remove)
        server.start()
        with closing(psycopg2.connect(server.dsn())) as conn, conn, conn.cursor() as cursor:
            # Hashed anew, so that the thousands of connections to come cost one round each and not 4,096.
            cursor.execute(sql.SQL("alter role {} password %s").format(sql.Identifier(server.user)), (server.password,))
        yield server


@pytest.fixture(scope="session")
def couchdb_server(quick_folder: Path) -> Iterator[PouchDBServer | GivenCouchDB]:
    """Yield a running CouchDB-protocol server; name what you make there by `mine`."""
    urls = given("couchdb")
    with GivenCouchDB(urls) if urls else PouchDBServer(quick_folder / "couchdb") as server:
        yield server
