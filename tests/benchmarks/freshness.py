"""From a write in CouchDB to the row of a model, through a real scheduler, by what starts a run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import requests

from include.demo.counts import Destination
from include.demo.servers import foreign
from tests.benchmarks.figures import Figure

DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "100000"))
TRIALS = int(os.environ.get("BENCH_TRIALS", "50"))
IDLE_S = float(os.environ.get("BENCH_IDLE", "600"))
PATIENCE_S = 300.0
# The loop of CHT Sync 2.x takes 28 s, of which its processes compute 20; a fifth of that.
LOOP_S, MOST_CPU_S = 28, 4
# From a write to the next one, at most: a run by schedule begins each minute, and a write falls into any moment of it.
PAUSE_S = {"schedule": 60.0, "event": 10.0}
AIMS = {"schedule": (None, None), "event": (12, 20)}


class Demo:
    """A demo with all its processes, in one mode.

    :param folder: keeps its data, for the next mode too.
    :param mode: value of ``CHT_SYNC_MODE``.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        self._folder, self._output = folder, folder / f"{mode}.txt"
        folder.mkdir(exist_ok=True)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "include.demo"],
                env={
                    **foreign(os.environ),
                    "DEMO_ENV_FILE": os.devnull,
                    "DEMO_DIR": str(folder / "demo"),
                    "DOCUMENTS": str(DOCUMENTS),
                    "CHT_SYNC_MODE": mode,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while "Ctrl-C ends the demo" not in self._output.read_text():
            if self._process.poll() is not None:
                raise RuntimeError(self._output.read_text()[-2000:])
            time.sleep(0.5)

    def end(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=120)

    def idle(self) -> float:
        """CPU seconds of all its processes in 28 s in which nothing changes."""
        time.sleep(30)
        before = self._cpu()
        time.sleep(IDLE_S)
        return (self._cpu() - before) / IDLE_S * LOOP_S

    def _cpu(self) -> float:
        """CPU seconds of its processes so far, those that have ended included."""
        total = 0.0
        for each in psutil.Process(self._process.pid).children(recursive=True):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def pause(self) -> None:
        """Pauses all DAGs: what is left is Airflow's own."""
        url = f"http://127.0.0.1:{self._kept('airflow/port')}"
        passwords = json.loads(self._kept("airflow/passwords.json"))
        name, password = next(iter(passwords.items()))
        session = requests.Session()
        login = session.post(f"{url}/auth/token", json={"username": name, "password": password}, timeout=60)
        session.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        for dag in session.get(f"{url}/api/v2/dags", timeout=60).json()["dags"]:
            where = f"{url}/api/v2/dags/{dag['dag_id']}"
            session.patch(where, json={"is_paused": True}, timeout=60).raise_for_status()

    def _kept(self, path: str) -> str:
        return (self._folder / "demo" / path).read_text().strip()

    def trial(self, name: str) -> float:
        """Seconds from a write to its row in ``data_record``.

        :param name: ``_id`` of the document.
        """
        url = f"http://127.0.0.1:{self._kept('couchdb/port')}/medic/{name}"
        document = {"type": "data_record", "form": "assessment", "reported_date": int(time.time() * 1000), "fields": {}}
        auth = ("medic", self._kept("couchdb/password"))
        requests.put(url, json=document, auth=auth, timeout=10).raise_for_status()
        begun = time.monotonic()
        port, password = self._kept("postgres/port"), self._kept("postgres/password")
        place = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": port, "POSTGRES_PASSWORD": password}
        with closing(Destination(place).connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while time.monotonic() - begun < PATIENCE_S:
                cursor.execute("select exists (select from v1.data_record where uuid = %s)", (name,))
                if cursor.fetchone()[0]:
                    return time.monotonic() - begun
                time.sleep(0.1)
        raise RuntimeError(f"{name} did not arrive within {PATIENCE_S:g} s")


def figures(folder: Path) -> list[Figure]:
    """Writes at random moments, in each mode, and measures the CPU of a system in which nothing changes.

    :param folder: for the servers.
    """
    found, idle = [], {}
    for mode in PAUSE_S:
        demo = Demo(folder / "fresh", mode)
        try:
            found += _told(_trials(demo, mode))
            idle[mode] = demo.idle()
            found += _told([Figure(f"CPU in {LOOP_S} s while nothing changes, {mode}, all processes", idle[mode], "s")])
            if mode == "schedule":
                demo.pause()
                idle["paused"] = demo.idle()
                found += _told(
                    [Figure(f"the same with all DAGs paused: Airflow's own, in {LOOP_S} s", idle["paused"], "s")]
                )
        finally:
            demo.end()
    ours = max(idle["event"] - idle["paused"], 0.0)
    return [*found, *_told([Figure(f"event, without Airflow's own, in {LOOP_S} s", ours, "s", most=MOST_CPU_S)])]


def _trials(demo: Demo, mode: str) -> list[Figure]:
    chance, seconds = random.Random(1), []
    for number in range(TRIALS):
        time.sleep(chance.uniform(0, PAUSE_S[mode]))
        seconds.append(demo.trial(f"fresh-{mode}-{number}-{time.time():.0f}"))
    seconds.sort()
    return [
        Figure(
            f"from a write to its row in data_record, {mode}, p{share}, {TRIALS} trials",
            seconds[min(share * len(seconds) // 100, len(seconds) - 1)],
            "s",
            most=aim,
        )
        for share, aim in zip((50, 95), AIMS[mode], strict=True)
    ]


def _told(figures: list[Figure]) -> list[Figure]:
    """Prints figures at once: an hour is long to wait for all of them."""
    for each in figures:
        print(f"  {each.name}: {each.text}", flush=True)
    return figures
