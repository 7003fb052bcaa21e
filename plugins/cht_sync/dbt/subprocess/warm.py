"""A process that has loaded dbt and nothing else, and forks the processes that run it, each in a tenth of a second.

It is started with an environment that holds no secret, so that its forks hold none but what they are given.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

MOST_BYTES = 1 << 20
# stdin, output, answers, and how the process ends.
PIPES = 4


class Warm:
    """Forks on demand, each demand with the pipes of the new process, until nobody is left who could ask."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._ends: dict[int, int] = {}

    def serve(self) -> None:
        """Answers demands and tells how each process ended."""
        ended, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Whoever ends Airflow's process group leaves the end of a run to the task that has begun it.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with selectors.DefaultSelector() as selector:
            selector.register(self._asked, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            open_ = True
            while open_ or self._ends:
                for key, _ in selector.select():
                    if key.fileobj is self._asked:
                        open_ = self._take()
                        if not open_:
                            selector.unregister(self._asked)
                    else:
                        os.read(ended, 4096)
                        self._reap()

    def _take(self) -> bool:
        demand, pipes, _, _ = socket.recv_fds(self._asked, MOST_BYTES, PIPES)
        if not demand:
            return False
        if len(pipes) == PIPES:
            self._fork(json.loads(demand), pipes)
        for each in pipes[:-1]:
            os.close(each)
        return True

    def _fork(self, demand: dict[str, object], pipes: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                self._become(demand, pipes)
                code = 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                code = 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        self._ends[pid] = pipes[-1]
        _tell(pipes[-1], pid)

    def _become(self, demand: dict[str, object], pipes: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._asked.close()
        for each in (*self._ends.values(), pipes[-1]):
            os.close(each)
        stdin, output, answers, _ = pipes
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(stdin)
        os.close(output)
        os.environ.clear()
        os.environ.update(demand["environment"])  # type: ignore[call-overload]
        os.chdir(str(demand["folder"]))
        importlib.import_module(str(demand["module"])).main([str(answers), *demand["arguments"]])  # type: ignore[misc]

    def _reap(self) -> None:
        for pid in list(self._ends):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                pipe = self._ends.pop(pid)
                _tell(pipe, os.waitstatus_to_exitcode(status))
                os.close(pipe)


def _tell(pipe: int, number: int) -> None:
    # Whoever asked may have ended meanwhile.
    with suppress(OSError):
        os.write(pipe, f"{number}\n".encode())


def main(number: str, *modules: str) -> None:
    """Loads modules, then serves."""
    for each in modules:
        importlib.import_module(each)
    gc.collect()
    gc.freeze()
    Warm(socket.socket(fileno=int(number))).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
