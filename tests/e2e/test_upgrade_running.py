"""An Airflow gets this version while an older one copies, reconciles and waits for changes: no run is lost."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager

import pytest

from include.demo.airflow import REPOSITORY
from include.demo.servers import foreign
from tests.e2e.small_deployment import SmallDeployment, wait_for
from tests.faults.proxy import Fault, FaultProxy
from tests.oracle.oracle import compare

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
# The last version before modules moved to folders by concept.
OLDER = os.environ.get("UPGRADE_FROM", "28daf5114a1139147286b259ee5500359f7c2cf7")
DOCUMENTS = 300


def older_version(folder):
    """The files of the older version; the test is skipped in a checkout without history."""
    archive = subprocess.run(
        ["git", "archive", OLDER, "dags", "plugins", "include"], cwd=REPOSITORY, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"{OLDER} is not in this checkout: fetch the whole history, or set UPGRADE_FROM")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


class Upgraded(SmallDeployment):
    """The deployment; a folder of one name holds the code of the version that runs."""

    airflow_has = {"CHT_SYNC_MODE": "event", "BATCH_SIZE": "10"}

    def __init__(self, folder, couchdb, postgres, proxy):
        self.settings = {"COUCHDB_PORT": str(proxy.port)}
        super().__init__(folder, couchdb, postgres)
        self.code = self.airflow.repository = folder / "code"

    @contextmanager
    def version(self, code):
        """Airflow with that code."""
        self.code.unlink(missing_ok=True)
        self.code.symlink_to(code)
        self.command("pipeline")
        self.airflow.start()
        self.airflow.start_rest()
        try:
            for dag_id in ("cht_sync", "cht_reconcile"):
                self.client.wait_for_dag(dag_id)
            yield
        finally:
            self.airflow.stop()

    def command(self, name):
        environment = {**foreign(os.environ), **self.airflow.environment()}
        done = subprocess.run(
            [sys.executable, "-m", "cht_sync", name], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def copied(self):
        if self.rows("select to_regclass('v1.couchdb')") == [(None,)]:
            return 0
        return self.rows("select count(*)::int from v1.couchdb")[0][0]

    def running_tasks(self, dag_id):
        return {
            task["task_id"]
            for run in self.client.runs(dag_id)
            for task in self.client.tasks(dag_id, run["dag_run_id"])
            if task["state"] == "running"
        }

    def by_changes(self):
        return [run["dag_run_id"] for run in self.client.runs("cht_sync") if run["run_type"] == "asset_triggered"]

    def failures(self, dag_id, run_id):
        return [
            self.client.log(task)[-2000:] for task in self.client.tasks(dag_id, run_id) if task["state"] == "failed"
        ]

    def differences(self):
        source = f"127.0.0.1/{self.source}"
        return compare(self.couchdb.url, self.couchdb.auth, self.source, source, self.dsn).differences


@pytest.fixture(scope="module")
def deployment(server_folder, couchdb_server, postgres_server):
    with FaultProxy(couchdb_server.host, couchdb_server.port) as proxy:
        upgraded = Upgraded(server_folder / "upgraded", couchdb_server, postgres_server, proxy)
        upgraded.proxy = proxy
        upgraded.write(*({"_id": f"d{n}", "type": "person", "name": str(n)} for n in range(DOCUMENTS)))
        yield upgraded


def test_runs_in_progress_and_the_trigger_survive_the_upgrade(deployment):
    client = deployment.client
    with deployment.version(older_version(deployment.folder / "older")):
        # A whole copy, then one that is under way: a change started it, which the trigger of the older version saw.
        assert deployment.end(client.trigger("cht_sync")) == "success"
        assert deployment.copied() == DOCUMENTS
        deployment.proxy.inject(Fault(match=b"GET", latency=3))
        seen = set(deployment.by_changes())
        deployment.write(*({"_id": f"e{n}", "type": "person", "name": str(n)} for n in range(DOCUMENTS)))
        wait_for(lambda: deployment.copied() > DOCUMENTS)
        by_changes = set(deployment.by_changes()) - seen
        proof = client.trigger("cht_reconcile")
        wait_for(lambda: deployment.running_tasks("cht_reconcile"))
        assert deployment.running_tasks("cht_sync"), "the copy is still under way"
        assert deployment.copied() < 2 * DOCUMENTS
    deployment.proxy.clear()
    with deployment.version(REPOSITORY):
        for dag_id, run_id in (*(("cht_sync", run_id) for run_id in by_changes), ("cht_reconcile", proof)):
            assert deployment.end(run_id, dag_id) == "success", deployment.failures(dag_id, run_id)
        assert deployment.copied() == 2 * DOCUMENTS
        seen = set(deployment.by_changes())
        deployment.write({"_id": "last", "type": "person", "name": "last"})
        (by_change, *_) = wait_for(lambda: set(deployment.by_changes()) - seen)
        assert deployment.end(by_change) == "success", deployment.failures("cht_sync", by_change)
        wait_for(lambda: deployment.copied() == 2 * DOCUMENTS + 1)
        assert deployment.differences() == []
        assert deployment.end(client.trigger("cht_reconcile"), "cht_reconcile") == "success"
        assert deployment.rows("select count(*)::int from v1.person") == [(2 * DOCUMENTS + 1,)]
