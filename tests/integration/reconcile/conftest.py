import pytest

from cht_sync.reconcile import comparison
from tests.oracle.oracle import compare


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(comparison, "RECHECK_AFTER_S", 0.02)
    monkeypatch.setattr("cht_sync.reconcile.repair.PAUSE_S", 0.0)
    monkeypatch.setattr("cht_sync.sync.database_identity.SECOND_LOOK_S", 0.01)
    monkeypatch.setenv("CHT_RECONCILE_RANGE", "60")


@pytest.fixture
def differences(couchdb_server, database):
    """What the oracle finds to be different."""

    def differences(couch):
        return compare(couchdb_server.url, couchdb_server.auth, couch.name, couch.source, database.dsn).differences

    return differences
