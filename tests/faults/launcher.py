"""Runs tasks in processes of their own, at once: Airflow is imported here, before the first is asked for.

Run as a program, it reads commands from its standard input, one JSON object a line, and answers each with one:
``{"start": {"database": ..., "batch_size": ...}, "context": {...}, "environment": {...}, "log": path}`` forks a process
that runs the operator, that of proofs where a ``part`` is named, and answers ``{"pid": ...}``; ``{"wait": pid}`` answers
``{"status": ...}``, negative for a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from types import TracebackType
from typing import Any


class Launcher:
    """The client's side of it."""

    def __enter__(self) -> Launcher:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self, environment: dict[str, str], log: str, context: dict[str, Any] | None = None, **arguments: Any
    ) -> int:
        """Starts a task; returns its pid.

        :param environment: variables to set.
        :param log: file for what it says.
        :param context: Airflow's.
        :param arguments: of the operator.
        """
        return self._ask(start=arguments, context=context or {}, environment=environment, log=log)["pid"]

    def wait(self, pid: int) -> int:
        """Waits until a task has ended; returns its exit code, or its signal as a negative number."""
        return self._ask(wait=pid)["status"]


def _run(arguments: dict[str, Any], context: dict[str, Any], environment: dict[str, str], log: str) -> None:
    """What a forked process does; it ends as Airflow's do, without waiting for threads."""
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
    from cht_sync.operators.reconcile import ReconcileOperator

    status = 1
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.environ.update(environment)
        CouchDBHook.__init__.__defaults__ = (CouchDBHook.default_conn_name, 60.0)
        kind = ReconcileOperator if "part" in arguments else CouchDBToPostgresOperator
        operator = kind(task_id="task", **arguments)
        # As airflow.sdk.execution_time.task_runner does.
        signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
        print("started", flush=True)
        operator.execute(context)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _warm_up() -> None:
    """Does once what a task does at first use, so that each forked process need not: nobody listens on that port."""
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.errors import CouchDBError, StoreError
    from cht_sync.postgres.connection import connect
    from cht_sync.settings.connections import postgres_connection

    nowhere = {"conn_type": "http", "host": "127.0.0.1", "port": 9}
    os.environ.update(AIRFLOW_CONN_CHT_COUCHDB=json.dumps(nowhere), POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="9")
    with contextlib.suppress(CouchDBError):
        CouchDBHook(tolerance=0).server()
    with contextlib.suppress(StoreError):
        connect(postgres_connection(), "nobody").close()


def main() -> None:
    """Takes commands until the input ends, then ends what still runs."""
    import cht_sync.operators.couchdb_to_postgres
    import cht_sync.operators.reconcile  # noqa: F401

    # What is logged goes to where errors go: the output is for answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    # Forking is safe only while nobody else may hold a lock.
    assert threading.active_count() == 1
    running: set[int] = set()
    for line in sys.stdin:
        command = json.loads(line)
        if "start" in command:
            pid = os.fork()
            if pid == 0:
                _run(command["start"], command["context"], command["environment"], command["log"])
            running.add(pid)
            answer = {"pid": pid}
        else:
            _, status = os.waitpid(command["wait"], 0)
            running.discard(command["wait"])
            answer = {"status": os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), file=answers, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
