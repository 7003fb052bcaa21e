"""From a write in CouchDB to the row of a model, through a real scheduler, by what starts a run."""

from __future__ import annotations

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
IDLE_S = float(os.environ.get("BENCH_IDLE", "300"))
PATIENCE_S = 300.0


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

    def cpu(self) -> float:
        """CPU seconds of its processes so far, those that have ended included."""
        total = 0.0
        for each in psutil.Process(self._process.pid).children(recursive=True):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

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
    chance, found = random.Random(1), []
    for mode in ("schedule", "event"):
        demo = Demo(folder / "fresh", mode)
        try:
            seconds = []
            for number in range(TRIALS):
                time.sleep(chance.uniform(0, 10))
                seconds.append(demo.trial(f"fresh-{mode}-{number}-{time.time():.0f}"))
            seconds.sort()
            most = (12, 20) if mode == "event" else (None, None)
            for name, share, aim in (("p50", 0.5, most[0]), ("p95", 0.95, most[1])):
                value = seconds[min(int(share * len(seconds)), len(seconds) - 1)]
                found.append(Figure(f"from a write to its row in data_record, {mode}, {name}", value, "s", most=aim))
            time.sleep(30)
            before = demo.cpu()
            time.sleep(IDLE_S)
            used = (demo.cpu() - before) / IDLE_S * 28
            found.append(Figure(f"CPU of all processes while nothing changes, {mode}, in 28 s", used, "s"))
        finally:
            demo.end()
    return found
