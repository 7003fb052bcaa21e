"""The tests of the store, of quarantine and of collisions once more, over a connection to Postgres that is slow and comes in pieces."""

from __future__ import annotations

import inspect

import pytest

from tests.faults.proxy import Fault, FaultProxy
from tests.servers import mine

MODULES = ("test_collisions", "test_quarantine", "test_store", "test_run_ledger")
pytest.register_assert_rewrite(*(f"tests.integration.store.{name}" for name in MODULES))
from tests.integration.conftest import Database, _numbers  # noqa: E402
from tests.integration.store import test_collisions, test_quarantine, test_run_ledger, test_store  # noqa: E402

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PIECE = 256
LATENCY = 0.0005
# Its hundreds of thousands of pieces take as long as all others together, and show nothing that they do not.
LEFT_OUT = {"test_more_values_than_one_allocation_of_postgres_takes"}
for _module in (test_collisions, test_quarantine, test_store, test_run_ledger):
    for _name, _each in vars(_module).items():
        fixture = type(_each).__name__ == "FixtureFunctionDefinition"
        # Those without a database talk to no server.
        over_postgres = _name.startswith("test_") and {"store", "database", "sources"} & set(
            inspect.signature(_each).parameters
        )
        if fixture or (over_postgres and _name not in LEFT_OUT):
            assert globals().setdefault(_name, _each) is _each, f"two modules have {_name}"


@pytest.fixture(scope="module")
def slow_postgres(postgres_server):
    """Yield the proxy; at the end, show what it did."""
    with FaultProxy(postgres_server.host, postgres_server.port) as proxy:
        fault = proxy.inject(Fault(piece=PIECE, latency=LATENCY))
        yield proxy
        print(f"\n{proxy.exchanges} exchanges with Postgres.")
        assert fault.hits > 0


@pytest.fixture
def database(postgres_server, slow_postgres, monkeypatch):
    """Yield a database as the store's tests know it, and lead the store through the proxy."""
    name = mine(f"cht_slow_{next(_numbers)}")
    postgres_server.create_database(name)
    database = Database(postgres_server.dsn(name), name)
    database.name_it(postgres_server, monkeypatch)
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", str(slow_postgres.port))
    return database
