"""The tests of the operator and of databases made again once more, over connections that are slow, come in pieces and break now and then."""

from __future__ import annotations

import inspect
import itertools

import pytest

from tests.faults.proxy import Fault, FaultProxy
from tests.faults.rig import shorten_pauses

pytest.register_assert_rewrite("tests.integration.operators.test_operator", "tests.integration.sync.test_recreation")
from tests.integration.operators import test_operator  # noqa: E402
from tests.integration.sync import test_recreation  # noqa: E402

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PIECE = 256
LATENCY = 0.002
# The same server serves the tests as they are: theirs and these must not share names of databases.
test_operator._numbers = itertools.count(10_001)
globals().update({name: each for name, each in vars(test_operator).items() if name.startswith("test_")})
globals().update(
    {
        name: each
        for name, each in vars(test_recreation).items()
        # The others are of recorded answers, which no server gives.
        if name.startswith("test_") and "couch" in inspect.signature(each).parameters
    }
)


@pytest.fixture(scope="module")
def proxies(couchdb_server, postgres_server):
    """Yield both proxies; at the end, show what they did."""
    with (
        FaultProxy(couchdb_server.host, couchdb_server.port) as http,
        FaultProxy(postgres_server.host, postgres_server.port) as sql,
    ):
        resets = [
            http.inject(Fault(match=b"/_changes?", close_at=at, chance=chance, piece=PIECE))
            for at, chance in ((0, 0.03), (600, 0.1), (5000, 0.1))
        ]
        for proxy in (http, sql):
            proxy.inject(Fault(piece=PIECE, latency=LATENCY))
        yield http, sql
        hits = sum(fault.hits for fault in resets)
        print(f"\n{http.exchanges} HTTP exchanges, {hits} of them reset; {sql.exchanges} exchanges with Postgres.")
        assert hits > 0


@pytest.fixture
def couch(couchdb_server, proxies, database, monkeypatch):
    """Yield what the tests of the operator call so, and lead the settings through the proxies."""
    shorten_pauses(monkeypatch, 60.0)
    monkeypatch.setattr("cht_sync.sync.database_identity.SECOND_LOOK_S", 0.01)
    http, sql = proxies
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(http.port))
    monkeypatch.setenv("COUCHDB_USER", couchdb_server.user)
    monkeypatch.setenv("COUCHDB_PASSWORD", couchdb_server.password)
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", str(sql.port))
    return test_operator.Couch(couchdb_server)


def test_large_documents_come_through(couch, database):
    """In place of the twelve of the operator's test: each is 16,000 pieces twice over."""
    couch.write(*({"_id": f"d{n}", "text": "x" * 4_000_000} for n in range(2)))
    assert test_operator.copy(couch)["documents"] == 2
    assert database.rows("select count(*), min(length(doc->>'text')) from v1.couchdb") == [(2, 4_000_000)]
