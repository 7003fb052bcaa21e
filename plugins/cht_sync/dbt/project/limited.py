"""Runs a program that reads from servers of strangers, within bounds of memory, disk and time."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cht_sync.settings.settings import ProjectLimits

LOOK_S = 0.2
MOST_OUTPUT = 4 * 2**20
# Whatever the size of a project: what git and dbt unpack in memory has to stop somewhere.
MOST_MEMORY = 2**30
# Of a shell, in the units of its ulimit; where a system has no such limit the others still count.
_WITHIN = 'ulimit -d "$1" 2>/dev/null; ulimit -f "$2" 2>/dev/null; shift 2; exec "$@"'
_KB, _BLOCK = 1024, 512


class TooMuchError(Exception):
    """The program wrote more than it may; the text says which bound that is."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended, with what it printed; either is cut after 4 MB."""

    code: int
    out: str
    errors: str


def run_limited(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    limits: ProjectLimits,
    folders: Sequence[Path] = (),
    cwd: Path | None = None,
    timeout_s: float,
) -> Done:
    """Runs a program to its end, and what it starts with it.

    :param folders: where it writes, which is measured while it runs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            _bounded(command, limits),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            # It may leave processes behind that go on reading.
            start_new_session=True,
        )
        try:
            _wait(process, limits, folders, [out, errors], timeout_s)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        done = Done(process.returncode, _text(out), _text(errors))
    if done.code == 127 and not done.out and "not found" in done.errors:
        raise FileNotFoundError(command[0])
    if done.code and (done.code == -signal.SIGXFSZ or any(_is_too_large(text) for text in (done.out, done.errors))):
        raise TooMuchError(limits.too_large)
    return done


@contextmanager
def output_of(
    command: Sequence[str], *, env: Mapping[str, str], limits: ProjectLimits, given: bytes = b"", timeout_s: float
) -> Iterator[IO[bytes]]:
    """What a program prints while it reads what is given; it is killed when the context is left."""
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        process = subprocess.Popen(
            _bounded(command, limits), env=dict(env), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            yield process.stdout  # type: ignore[misc]  # a pipe
        finally:
            timer.cancel()
            process.kill()
            process.communicate()


def _bounded(command: Sequence[str], limits: ProjectLimits) -> list[str]:
    bounds = [str(MOST_MEMORY // _KB), str(limits.most_bytes // _BLOCK)]
    return ["sh", "-c", _WITHIN, "sh", *bounds, *command]


def _wait(
    process: subprocess.Popen[bytes],
    limits: ProjectLimits,
    folders: Sequence[Path],
    outputs: Sequence[IO[bytes]],
    timeout_s: float,
) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(process.args, timeout_s) from None
        # Once more at the end: it may have been quick.
        if any(os.fstat(file.fileno()).st_size > MOST_OUTPUT for file in outputs):
            raise TooMuchError(f"it printed more than {MOST_OUTPUT // 2**20} MB")
        _measure(limits, folders)
        if process.returncode is not None:
            return


def _measure(limits: ProjectLimits, folders: Sequence[Path]) -> None:
    number = size = 0
    stack = [os.fspath(folder) for folder in folders]
    while stack:
        # It comes and goes while it is looked at.
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                number += 1
                if number > limits.most_files:
                    raise TooMuchError(limits.too_many)
                with suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                if size > limits.most_bytes:
                    raise TooMuchError(limits.too_large)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MOST_OUTPUT).decode("utf-8", "replace")


def _is_too_large(text: str) -> bool:
    """What is said where a file may not grow any further, by C's library and by git of its parts."""
    return "File too large" in text or f"signal {int(signal.SIGXFSZ)}" in text
