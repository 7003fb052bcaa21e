"""Asks the process that has loaded dbt for another one; where there is none, one is started and loads dbt itself."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cht_sync.dbt.launch.environment import to_start

# -P: nothing in the folder that dbt runs in may pass for a module of Python's.
PYTHON = [sys.executable, "-P", "-m"]
_LOADED = ("cht_sync.dbt.subprocess.runs", "dbt.adapters.postgres", "dbt.task.run", "dbt.task.build", "dbt.task.test")
# Inherited by the forks of the scheduler that has started it.
_warm: tuple[subprocess.Popen[bytes], socket.socket] | None = None


class Pipes(NamedTuple):
    """The ends of pipes that a new process gets, as file descriptors."""

    stdin: int
    output: int
    answers: int


def keep_warm() -> None:
    """Starts the process that loads dbt, once; whoever is forked from this process can ask it.

    It gets no secret of this process: neither variables nor memory nor open files. It ends when the last process has
    ended that could ask.
    """
    global _warm  # noqa: PLW0603
    if _warm is not None or not hasattr(socket, "recv_fds"):
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [*PYTHON, "cht_sync.dbt.subprocess.warm", str(theirs.fileno()), *_LOADED],
            env=to_start(),
            cwd="/",
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
    _warm = process, ours


def start(
    module: str, arguments: list[str], environment: Mapping[str, str], folder: Path, pipes: Pipes
) -> subprocess.Popen[bytes] | _Forked:
    """Starts a program of ours.

    :param module: its name; its ``main`` gets the file descriptor of its answers, and the arguments.
    :param environment: all its variables.
    :param pipes: what it gets; the caller closes its own copies.
    """
    demand = {"module": module, "arguments": arguments, "environment": dict(environment), "folder": str(folder)}
    forked = _forked(_warm[1], demand, pipes) if _warm else None
    return forked or subprocess.Popen(
        [*PYTHON, module, str(pipes.answers), *arguments],
        env=dict(environment),
        cwd=folder,
        pass_fds=(pipes.answers,),
        stdin=pipes.stdin,
        stdout=pipes.output,
        stderr=subprocess.STDOUT,
    )


class _Forked:
    """A fork of the process that has loaded dbt, no child of this one, with what is needed of ``subprocess.Popen``."""

    def __init__(self, status: int) -> None:
        self._status, self._said = status, b""
        self.pid = int(self._line(None) or 0)
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            # Nothing at all: the process that would know has been killed.
            self._code = int(self._line(timeout) or -signal.SIGKILL)
            os.close(self._status)
        return self._code

    def _line(self, timeout: float | None) -> bytes:
        while b"\n" not in self._said:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("dbt", timeout or 0)
            if not (more := os.read(self._status, 100)):
                break
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line

    def kill(self) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _forked(warm: socket.socket, demand: Mapping[str, object], pipes: Pipes) -> _Forked | None:
    status, report = os.pipe()
    try:
        socket.send_fds(warm, [json.dumps(demand).encode()], [*pipes, report])
    except OSError:
        os.close(status)
        return None
    finally:
        os.close(report)
    forked = _Forked(status)
    if forked.pid:
        return forked
    # It was killed before it could fork.
    os.close(status)
    return None
