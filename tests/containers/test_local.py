"""The profile `local` as a person starts it: all of it healthy, documents and models, who sees which key, stop and start."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import requests

from include.docker.keys import HANDED_OUT, make_keys
from tests.containers.conftest import IMAGE_TAG
from tests.containers.project import Project, free_port
from tests.unit.docker.test_compose_keys import NEEDS

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

DOCUMENTS = 300
STOPPED_WITHIN_S = 120
PORTS = ("AIRFLOW_PORT", "COUCHDB_LOCAL_PORT", "POSTGRES_LOCAL_PORT", "ADMINER_PORT")
RUNNING = (
    "airflow-db", "api-server-local", "dag-processor-local", "triggerer-local", "scheduler-local", "log-groomer",
    "couchdb", "postgres", "generator", "adminer",
)  # fmt: skip
AUTH = ("medic", "password")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Those of an earlier release, which had all in one folder of one volume."""
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder)
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def local(engine, image, keys) -> Iterator[Project]:
    """The profile, started upon the keys of an earlier release."""
    ports = {name: free_port() for name in PORTS}
    variables = {"CHT_IMAGE_TAG": IMAGE_TAG, "DOCUMENTS": str(DOCUMENTS), **ports}
    project = Project(engine, "cht-containers-local", "local", variables)
    try:
        project.remove()
        put_keys_of_an_earlier_release(project, keys)
        project.compose("up", "--detach", "--no-build", timeout=1200)
        project.wait_until_healthy()
        yield project
    finally:
        project.remove()


def put_keys_of_an_earlier_release(project, keys):
    volume = f"{project.name}_keys"
    labels = {"com.docker.compose.project": project.name, "com.docker.compose.volume": "keys"}
    project.docker("volume", "create", *(f"--label={name}={value}" for name, value in labels.items()), volume)
    write = "import json, pathlib, sys; [pathlib.Path('/k', n).write_text(t) for n, t in json.load(sys.stdin).items()]"
    project.docker(
        "run", "--rm", "--interactive", "--network=none", "--user=0", f"--volume={volume}:/k", "--entrypoint=sh",
        f"cht-sync-airflow:{IMAGE_TAG}", "-c", f'python -c "{write}" && chown -R 50000:0 /k && chmod 0640 /k/*',
        input=json.dumps(keys),
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(local):
    return f"http://127.0.0.1:{local.environ['AIRFLOW_PORT']}"


@pytest.fixture(scope="module")
def session(address, keys) -> requests.Session:
    """Logged in, with the password of the earlier release."""
    login = {"username": "admin", "password": json.loads(keys["ui_passwords.json"])["admin"]}
    answer = requests.post(f"{address}/auth/token", json=login, timeout=60)
    answer.raise_for_status()
    logged_in = requests.Session()
    logged_in.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return logged_in


def counted(project: Project, relation: str) -> int:
    """Rows of a table or view, 0 where there is none yet."""
    said = project.exec(
        "postgres", "psql", "-U", "postgres", "-At", "-c", f"select count(*) from {relation}", "cht_sync", check=False
    )
    return int(said) if said.strip().isdigit() else 0


def test_all_of_it_is_healthy_and_nothing_was_killed(local):
    states = local.states()
    assert set(states) == {*RUNNING, "keys", "init-local"}
    assert {name for name, state in states.items() if state["Status"] == "running"} == set(RUNNING)
    assert [name for name, state in states.items() if state["OOMKilled"] or state["ExitCode"]] == []


def test_each_service_sees_the_keys_that_it_needs_and_no_other(local, keys):
    look = "find /keys /opt/cht/keys -type f 2>/dev/null; true"
    found = {name: set(local.exec(name, "sh", "-c", look).split()) for name in RUNNING}
    for name, files in found.items():
        parts = NEEDS.get(name.removesuffix("-local"), set())
        named = {key for part in parts for key in HANDED_OUT[part]}
        assert {file.rpartition("/")[2] for file in files} == named, name
    # And by no other way: neither a variable nor an argument of a container holds one.
    secret = {value for name, value in keys.items() if not name.endswith((".json", ".conf"))}
    assert [name for name, told in local.environments().items() if any(value in told for value in secret)] == []


@pytest.mark.parametrize(
    ("service", "folder"),
    [
        ("api-server-local", "/opt/airflow/logs"),
        ("api-server-local", "/opt/cht/pipeline"),
        ("api-server-local", "/opt/cht/keys/fernet"),
        ("scheduler-local", "/opt/cht/keys/jwt"),
        ("triggerer-local", "/opt/cht/keys/fernet"),
        ("airflow-db", "/keys"),
    ],
)
def test_what_is_read_cannot_be_written(local, service, folder):
    said = local.exec(service, "touch", f"{folder}/written", check=False)
    assert "Read-only file system" in said


def test_couchdbs_password_is_known_where_couchdb_is_asked(local):
    knowing = {name for name, told in local.environments().items() if "COUCHDB_PASSWORD=password" in told}
    assert knowing == {"couchdb", "generator", "init-local", "scheduler-local", "triggerer-local"}


def test_an_upgrade_keeps_the_keys(local, keys):
    fernet = local.exec("scheduler-local", "cat", "/opt/cht/keys/fernet/fernet_key")
    assert fernet == keys["fernet_key"]
    assert local.exec("airflow-db", "cat", "/keys/airflow_db_password") == keys["airflow_db_password"]


@pytest.mark.parametrize("path", ["/cht-sync/", "/cht-sync/api/status", "/api/v2/dags"])
def test_the_page_answers_only_who_is_logged_in(address, session, path):
    assert requests.get(address + path, timeout=60).status_code == 401
    wrong = requests.get(address + path, headers={"Authorization": "Bearer e30.e30.e30"}, timeout=60)
    assert wrong.status_code in {401, 403}
    assert session.get(address + path, timeout=120).status_code == 200
    login = {"username": "admin", "password": "admin"}
    assert requests.post(f"{address}/auth/token", json=login, timeout=60).status_code == 401


def test_documents_arrive_and_models_are_filled(local):
    named = local.exec("scheduler-local", "python", "-m", "cht_sync", "check", timeout=300)
    assert "DAG cht_pipeline_deploy: is paused: no new version of the dbt project is deployed" in named
    # As docs/how-to-docker.md says.
    local.exec(
        "api-server-local", "airflow", "dags", "unpause", "--yes", "--treat-dag-id-as-regex", "^cht_", timeout=300
    )
    local.wait_for(lambda: counted(local, "v1.couchdb") > DOCUMENTS and counted(local, "v1.person") > 0, "models")
    said = local.exec("scheduler-local", "python", "-m", "cht_sync", "check", timeout=300)
    assert "none of 4 is paused" in said
    # The generator goes on, and would be one document ahead of any comparison.
    local.compose("stop", "generator")
    local.wait_for(lambda: local.succeeds("scheduler-local", "python", "-m", "cht_sync", "verify"), "equal")
    local.compose("start", "generator")


def test_no_key_is_in_any_log(local, keys):
    logs = local.compose("logs", "--no-log-prefix")
    assert "Uvicorn running" in logs
    secret = {value for name, value in keys.items() if not name.endswith((".json", ".conf"))}
    secret |= set(json.loads(keys["ui_passwords.json"]).values())
    assert [value for value in secret if value in logs] == []


def test_stopping_in_the_middle_of_a_run_takes_no_time_and_kills_nobody(local):
    local.exec("scheduler-local", "airflow", "dags", "trigger", "cht_sync", timeout=300)
    local.wait_for(lambda: at_work(local) > 0, "a task at work")
    began = time.monotonic()
    local.compose("stop", timeout=600)
    assert time.monotonic() - began < STOPPED_WITHIN_S
    states = local.states()
    assert {name: state["ExitCode"] for name, state in states.items() if state["ExitCode"]} == {}
    assert [name for name, state in states.items() if state["OOMKilled"]] == []


def at_work(project: Project) -> int:
    """Tasks that run now."""
    query = "select count(*) from task_instance where state = 'running'"
    return int(project.exec("airflow-db", "psql", "-U", "airflow", "-At", "-c", query))


def test_what_is_started_again_has_its_keys_its_documents_and_goes_on(local, keys):
    local.compose("up", "--detach", "--no-build", timeout=1200)
    local.wait_until_healthy()
    assert local.exec("scheduler-local", "cat", "/opt/cht/keys/fernet/fernet_key") == keys["fernet_key"]
    assert counted(local, "v1.couchdb") > DOCUMENTS
    couchdb = f"http://127.0.0.1:{local.environ['COUCHDB_LOCAL_PORT']}"
    written = requests.put(f"{couchdb}/medic/of-the-second-start", json={"type": "person"}, auth=AUTH, timeout=60)
    written.raise_for_status()
    local.wait_for(lambda: counted(local, "v1.couchdb where _id = 'of-the-second-start'") == 1, "a new document")
