"""The demo as a person runs it: from nothing to models, changes while it runs, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from include.demo.census import census
from include.demo.counts import Destination
from include.demo.fill import DATABASES
from include.demo.servers import foreign
from include.demo.touch import touch
from tests.documented import blocks

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).parents[2]
TICK = 60  # seconds, of the default schedule


class RunningDemo:
    """``python -m include.demo`` in a folder of its own."""

    def __init__(self, folder, **variables):
        self.folder = folder
        self.output = folder / "output"
        folder.mkdir(exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "include.demo"],
                cwd=REPOSITORY,
                env={
                    **foreign(os.environ),
                    "DEMO_ENV_FILE": os.devnull,
                    "DEMO_DIR": str(folder / "demo"),
                    "DOCUMENTS": "800",
                    **variables,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self):
        return self.output.read_text()

    def wait_for(self, text, seconds=400):
        deadline = time.monotonic() + seconds
        while text not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.5)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def secret(self, path):
        return (self.folder / "demo" / path).read_text().strip()

    def couchdb(self):
        return f"http://127.0.0.1:{self.secret('couchdb/port')}", ("medic", self.secret("couchdb/password"))

    def destination(self):
        return Destination(
            {
                "POSTGRES_HOST": "127.0.0.1",
                "POSTGRES_PORT": self.secret("postgres/port"),
                "POSTGRES_PASSWORD": self.secret("postgres/password"),
            }
        )

    def airflow(self):
        """A session of the REST API."""
        import requests

        url = f"http://127.0.0.1:{self.secret('airflow/port')}"
        password = json.loads(self.secret("airflow/passwords.json"))["admin"]
        session = requests.Session()
        token = session.post(f"{url}/auth/token", json={"username": "admin", "password": password}).json()
        session.headers["Authorization"] = f"Bearer {token['access_token']}"
        return session, f"{url}/api/v2"


@pytest.fixture(scope="module")
def folder(server_folder):
    return server_folder / "e2e"


@pytest.fixture(scope="module")
def demo(folder):
    # Changes start runs, and so does the schedule.
    demo = RunningDemo(folder, CHT_SYNC_MODE="both")
    yield demo
    demo.end()


def missing(demo):
    """Models whose rows are not those that CouchDB's documents ask for."""
    counted = census(*demo.couchdb())
    rows = demo.destination().rows(list(counted.models))
    return {model: (counted.models[model], rows[model]) for model in rows if rows[model] != counted.models[model]}


def test_everything_arrives(demo):
    demo.wait_for("Ctrl-C ends the demo")
    assert "Run succeeded" in demo.text(), demo.text()
    assert "the counts agree with CouchDB" in demo.text(), demo.text()
    assert missing(demo) == {}
    assert all(demo.destination().rows(["telemetry", "telemetry_devices", "feedback"]).values())


def test_each_form_has_a_table_and_the_tutorial_finds_something_in_them(demo):
    printed = [block.text for block in blocks(REPOSITORY / "docs" / "tutorial.md") if "v1.form_" in block.text]
    assert len(printed) == 3
    with closing(demo.destination().connect()) as connection, connection.cursor() as cursor:
        cursor.execute("select form, count(*) from v1.data_record where form is not null group by form")
        for form, count in cursor.fetchall():
            cursor.execute(f"select count(*) from v1.form_{form.lower()}")
            assert (form, *cursor.fetchone()) == (form, count)
        for name in ("clinic", "person"):
            cursor.execute(f"select count(*), count(district_hospital_uuid) from v1.contact_{name}")
            made, below = cursor.fetchone()
            cursor.execute("select count(*) from v1.contact where contact_type = %s", (name,))
            assert (made, bool(below)) == (*cursor.fetchone(), True)
        for query in printed:
            cursor.execute(query)
            rows, names = cursor.fetchall(), [each.name for each in cursor.description]
            empty = [name for name, *values in zip(names, *rows, strict=True) if not any(values)]
            assert rows, query
            assert not empty, query


def test_changes_arrive_within_two_ticks(demo):
    touched = touch(*demo.couchdb(), edits=12, deletes=6, creates=12, seed=4)
    deadline = time.monotonic() + 2 * TICK
    while time.monotonic() < deadline:
        if not missing(demo) and not unseen(demo, touched):
            return
        time.sleep(2)
    pytest.fail(f"after two ticks: rows {missing(demo)}, ids {unseen(demo, touched)}")


def history(demo):
    """Every run, and what the tasks that failed have said."""
    session, api = demo.airflow()
    told = []
    for run in session.get(f"{api}/dags/cht_sync/dagRuns", params={"limit": 100, "order_by": "start_date"}).json()[
        "dag_runs"
    ]:
        told.append(" ".join(str(run[name]) for name in ("dag_run_id", "state", "start_date", "end_date", "note")))
        path = f"{api}/dags/cht_sync/dagRuns/{run['dag_run_id']}/taskInstances"
        for task in session.get(path, params={"limit": 100, "state": ["failed", "up_for_retry"]}).json()[
            "task_instances"
        ]:
            log = f"{path}/{task['task_id']}/logs/{task['try_number']}"
            content = session.get(log, params={"map_index": task["map_index"]}).json()["content"]
            told.append(f"{task['task_id']} {task['try_number']} {task['start_date']} {task['end_date']}: {content}")
    return "\n".join(told)


def logs(demo, since):
    """The logs of the tasks that copied after a moment."""
    files = (demo.folder / "demo" / "airflow" / "logs").rglob("task_id=sync/**/*.log")
    return "\n".join(path.read_text() for path in files if path.stat().st_mtime > since)


def unseen(demo, touched):
    """Ids whose newest state is not that of ``document_metadata``."""
    with closing(demo.destination().connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select c._id, m.uuid is not null, m.saved_timestamp = c.saved_timestamp, c.doc->>'_rev'"
            " from v1.couchdb c left join v1.document_metadata m on m.uuid = c._id where c._id = any(%s)",
            ([*touched.edits, *touched.deletes, *touched.creates],),
        )
        state = {key: (there, fresh, rev) for key, there, fresh, rev in cursor}
    late = [key for key in touched.deletes if state.get(key, (True,))[0]]
    late += [key for key in (*touched.edits, *touched.creates) if not all(state.get(key, (False,))[:2])]
    return late + [key for key in touched.edits if key in state and state[key][2].startswith("1-")]


def test_changes_started_runs(demo):
    """Where nothing changes, no change starts one."""
    session, api = demo.airflow()

    def by_changes():
        runs = session.get(f"{api}/dags/cht_sync/dagRuns", params={"limit": 100}).json()["dag_runs"]
        return [run["dag_run_id"] for run in runs if run["run_type"] == "asset_triggered"]

    touch(*demo.couchdb(), edits=1, deletes=0, creates=0, seed=5)
    deadline = time.monotonic() + TICK
    while not by_changes():
        assert time.monotonic() < deadline, history(demo)
        time.sleep(0.5)
    # A run under way reads the change that starts the next one, which then finds nothing: on a busy machine that is
    # late, so we wait until it is quiet for as long as a chain of such runs would not be.
    known, changed_at, first = by_changes(), time.monotonic(), len(by_changes())
    while time.monotonic() < changed_at + TICK / 2:
        time.sleep(1)
        if (now := by_changes()) != known:
            known, changed_at = now, time.monotonic()
        assert len(known) <= first + 2, history(demo)


def test_a_run_with_nothing_new_starts_no_dbt(demo):
    session, api = demo.airflow()
    run = session.post(f"{api}/dags/cht_sync/dagRuns", json={"logical_date": None}).json()
    path = f"{api}/dags/cht_sync/dagRuns/{run['dag_run_id']}"
    deadline = time.monotonic() + 120
    while session.get(path).json()["state"] not in {"success", "failed"}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    tasks = session.get(f"{path}/taskInstances", params={"limit": 100}).json()["task_instances"]
    states = {task["task_id"]: task["state"] for task in tasks}
    assert session.get(path).json()["state"] == "success"
    assert states.pop("models.dbt_run") == "skipped"
    assert {state for name, state in states.items() if name.startswith("models.")} == {"skipped"}
    assert {task["rendered_map_index"] for task in tasks if task["task_id"] == "sync"} == {
        f"127.0.0.1/{name}" for name in DATABASES
    }


def test_a_run_that_is_cleared_copies_nothing_twice(demo):
    """What a person does who presses Clear: the same run id, the checkpoint of later runs."""
    session, api = demo.airflow()
    runs = session.get(f"{api}/dags/cht_sync/dagRuns", params={"limit": 1, "order_by": "start_date"}).json()
    path = f"{api}/dags/cht_sync/dagRuns/{runs['dag_runs'][0]['dag_run_id']}"
    query = "select count(*), max(saved_timestamp) from v1.couchdb"
    with closing(demo.destination().connect()) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        before = cursor.fetchone()
        assert session.get(path).json()["state"] == "success", history(demo)
        assert session.post(f"{path}/clear", json={"dry_run": False}).ok
        deadline = time.monotonic() + 120
        while session.get(path).json()["state"] not in {"success", "failed"}:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert session.get(path).json()["state"] == "success"
        tasks = session.get(f"{path}/taskInstances", params={"limit": 100}).json()["task_instances"]
        assert {task["try_number"] for task in tasks if task["task_id"] == "sync"} == {2}
        connection.rollback()
        cursor.execute(query)
        assert cursor.fetchone() == before
    assert missing(demo) == {}


def test_assets_had_events(demo):
    """What DAGs of a team are scheduled on: each source, the raw table, each model that changed."""
    session, api = demo.airflow()
    events = session.get(f"{api}/assets/events", params={"limit": 1000}).json()["asset_events"]
    assets = {
        asset["id"]: asset["uri"] for asset in session.get(f"{api}/assets", params={"limit": 1000}).json()["assets"]
    }
    seen = {assets.get(event["asset_id"]) or event["uri"] for event in events}
    table = f"postgres://127.0.0.1:{demo.secret('postgres/port')}/cht_sync/v1"
    copied = {f"couchdb://127.0.0.1/{name}" for name in DATABASES}
    assert {*copied, f"{table}/couchdb"} <= seen
    assert {f"{table}/{model}" for model in ("document_metadata", "contact", "data_record", "telemetry")} <= seen


def test_no_secret_is_in_the_logs(demo):
    secrets = [demo.secret(f"{server}/password") for server in ("couchdb", "postgres")]
    logs = [path for path in (demo.folder / "demo" / "airflow").rglob("*.log") if path.is_file()]
    assert logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [name for name in secrets if name in text], path


def test_everything_listens_on_loopback_only(demo):
    listening = []
    for process in demo.children():
        with suppress(psutil.NoSuchProcess):  # tasks come and go
            connections = process.net_connections(kind="tcp")
            listening += [each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_ctrl_c_leaves_no_process(demo):
    children = demo.children()
    assert len(children) > 6
    assert demo.end() == 0
    _gone, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_the_second_time_it_only_copies_what_changed(demo, folder):
    demo.end()
    began = time.time()
    second = RunningDemo(folder, ONESHOT="1")
    assert second.process.wait(timeout=300) == 0, second.text()
    assert "the counts agree with CouchDB" in second.text()
    assert "generated documents" not in second.text()
    copied = sum(
        int(number.replace(",", ""))
        for number in re.findall(r"all changes read; ([0-9,]+) documents", logs(second, began))
    )
    assert copied < 50
