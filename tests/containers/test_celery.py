"""The profile `celery`: each of its services with its own keys, a document on its way by two workers."""

from __future__ import annotations

import pytest
import requests

from include.docker.keys import HANDED_OUT
from tests.containers.elsewhere import FAB, project, servers
from tests.unit.docker.test_compose_keys import NEEDS

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.usefixtures("image")]

PASSWORD = "canary-of-celery-77d0"
FILES = "find /keys /opt/cht/keys -type f 2>/dev/null; true"
COUNT = "select count(*) from v1.person"


def test_two_workers_copy_a_document_with_the_keys_that_each_needs(engine, tmp_path):
    file, port = servers(tmp_path, "celery", PASSWORD)
    celery = project(engine, "celery", tmp_path, PASSWORD, file, AIRFLOW_AUTH_MANAGER=FAB)
    try:
        celery.remove()
        celery.compose("up", "--detach", "--no-build", "elsewhere-postgres", "elsewhere-couchdb")
        couchdb = f"http://127.0.0.1:{port}/medic"
        celery.wait_for(lambda: _put(couchdb), "a database")
        _put(f"{couchdb}/ann", {"type": "person", "name": "Ann"})
        celery.compose("up", "--detach", "--no-build", "--scale=worker=2", timeout=1200)
        celery.wait_until_healthy()
        for name in ("scheduler-celery", "worker", "redis", "api-server", "triggerer"):
            seen = {each.rpartition("/")[2] for each in celery.exec(name, "sh", "-c", FILES).split()}
            assert seen == {key for part in NEEDS[name] for key in HANDED_OUT[part]}, name
        celery.exec("scheduler-celery", "airflow", "dags", "unpause", "--yes", "cht_sync")
        query = ("psql", "-U", "copies", "-At", "-c", COUNT, "cht_sync")
        celery.wait_for(
            lambda: celery.exec("elsewhere-postgres", *query, check=False).strip() == "1", "a document and its model"
        )
        celery.compose("stop", timeout=900)
        assert {name: state["ExitCode"] for name, state in celery.states().items() if state["ExitCode"]} == {}
    finally:
        celery.remove()


def _put(url: str, document: dict | None = None) -> bool:
    try:
        return requests.put(url, json=document, auth=("reader", PASSWORD), timeout=30).status_code in {201, 412}
    except requests.ConnectionError:
        return False
