"""dbt for the tests of many deployments and runs: forks of a process that has loaded it and read a project before.

To load dbt and to read its own macros takes most of what each command takes on a small project. It is paid once here
for each process of pytest; what dbt is asked, with which variables, in which folder and in a process of its own, is as
ever. Where Airflow runs, in `tests/e2e`, nothing of this stands between it and dbt.
"""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cht_sync.dbt.launch import dbt_command, warm_dbt
from cht_sync.dbt.launch.environment import to_start

HERE = "tests.prepared_dbt"
ROOT = Path(__file__).parents[1]
PROJECT = {
    "dbt_project.yml": "name: small\nversion: 1.0.0\nconfig-version: 2\nprofile: small\n",
    "profiles.yml": (
        "small: {target: t, outputs: {t: {type: postgres, host: 127.0.0.1, port: 1, user: a, password: a, dbname: a,"
        " schema: a, threads: 1}}}\n"
    ),
    "models/one.sql": "{{ config(materialized='incremental', unique_key='a') }} select 1 as a",
    "models/two.sql": "select * from {{ ref('one') }} join {{ source('raw', 'couchdb') }} using (a)",
    "models/all.yml": """
sources: [{name: raw, schema: a, tables: [{name: couchdb}]}]
models:
  - name: one
    columns: [{name: a, data_tests: [not_null, unique]}]
""",
}
Prepared = tuple[subprocess.Popen[bytes], socket.socket]


@contextmanager
def prepared() -> Iterator[Prepared]:
    """Starts the process that forks the others; it has read what the allow-list leaves of the environment, no more."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = to_start()
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(ROOT)])
    with theirs:
        process = subprocess.Popen(
            [*warm_dbt.PYTHON, HERE, str(theirs.fileno())],
            env=environment,
            cwd="/",
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
    try:
        with ours:
            yield process, ours
    finally:
        # Not asked to end: it would wait for forks that a test has left, and those end with this process.
        process.kill()
        process.wait()


@contextmanager
def used(by: Prepared) -> Iterator[None]:
    """Lets what the tasks start be forked from it, for as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_dbt, "_warm", by)
        patch.setattr(dbt_command, "subprocess", Programs)
        yield


class Programs:
    """What :mod:`cht_sync.dbt.launch.dbt_command` needs of ``subprocess``."""

    DEVNULL, PIPE, STDOUT, TimeoutExpired = (
        subprocess.DEVNULL,
        subprocess.PIPE,
        subprocess.STDOUT,
        subprocess.TimeoutExpired,
    )

    @staticmethod
    def run(
        command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float, **_: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command of Python's, to its end."""
        assert command[:2] == [sys.executable, "-P"]
        (answers, unused), (said, output) = os.pipe(), os.pipe()
        with open(os.devnull) as nothing:
            pipes = warm_dbt.Pipes(nothing.fileno(), output, unused)
            try:
                process = warm_dbt.start(HERE, command[2:], env, cwd, pipes)
            finally:
                for each in (output, unused, answers):
                    os.close(each)
        with closing(os.fdopen(said, errors="replace")) as text:
            words = text.read()
        return subprocess.CompletedProcess(command, process.wait(timeout), words)


def main(arguments: list[str]) -> None:
    """Becomes Python with other arguments, in a fork.

    :param arguments: a file descriptor that nobody needs; then as for Python, ``-c`` or a file.
    """
    os.close(int(arguments[0]))
    program, *rest = arguments[1:]
    code: Any = 0
    try:
        if program == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(rest[0], {"__name__": "__main__"})
        else:
            sys.argv = [program, *rest]
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0 if not isinstance(code, str) else 1)


def prepare() -> None:
    """Loads dbt and reads a project with it."""
    from dbt import deprecations
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory() as folder:
        for name, text in PROJECT.items():
            Path(folder, name).parent.mkdir(exist_ok=True)
            Path(folder, name).write_text(text)
        where = ["--project-dir", folder, "--profiles-dir", folder, "--log-path", folder]
        # The static parser begins threads, which no fork has: it would wait for them for ever.
        done = dbtRunner().invoke(["--quiet", "--no-use-colors", "--no-static-parser", "parse", *where])
        if not done.success:
            raise done.exception or RuntimeError("dbt could not read the small project")
    reset_adapters()
    deprecations.reset_deprecations()


if __name__ == "__main__":
    from cht_sync.dbt.subprocess import warm

    prepare()
    warm.main(sys.argv[1], *warm_dbt._LOADED, "cht_sync.dbt.subprocess.rebuild", "cht_sync.dbt.subprocess.checks")
