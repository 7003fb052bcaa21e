"""Starting and ending a server process that never outlives the process that started it."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from include.demo.errors import DemoError

GUARD = Path(__file__).with_name("guard.py")
LOG_TAIL_BYTES = 2000
CLAIM_SECONDS = 10.0


class GuardedProcess:
    """A server process under guard: it ends with `stop()`, or within a second of this process' death."""

    def __init__(self, name: str, folder: Path) -> None:
        """Name a server and its folder; nothing is started yet.

        :param name: what messages call the server, e.g. "PostgreSQL".
        :param folder: existing folder for `lock` and `server.log`; one server at a time may use it.
        """
        self.name = name
        self.folder = folder
        self.log = folder / "server.log"
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the server's guard, whose child the server is.

        :raises DemoError: if the server was not started.
        """
        if self._guard is None:
            raise DemoError(f"{self.name} was not started.")
        return self._guard.pid

    def claim(self) -> None:
        """Take the folder for this server; kept until `release()` or until the started server has ended.

        An earlier server of the folder that is just ending is waited for, up to 10 seconds.

        :raises DemoError: another server uses the folder.
        """
        self._lock = (self.folder / "lock").open("ab")
        deadline = time.monotonic() + CLAIM_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.release()
                    raise DemoError(
                        f"{self.name} folder {self.folder} is in use by a running server: "
                        "stop that one or give another folder."
                    ) from None
                time.sleep(0.1)

    def release(self) -> None:
        """Give the folder back; a server that still runs keeps its own hold on it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def start(
        self,
        command: Sequence[str],
        identity: tuple[int, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start the server in its folder, with its output in `server.log`.

        :param command: program and arguments.
        :param identity: user id and group id to run as; default: those of this process.
        :param environment: variables to add to those of this process.
        """
        uid, gid = identity or (-1, -1)
        descriptor = [self._lock.fileno()] if self._lock else []
        with self.log.open("wb") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(uid), str(gid), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # "/" for a dropped user, which may not be allowed to stand in our folder.
                cwd="/" if identity else self.folder,
                env={**os.environ, **(environment or {})},
                # Ctrl-C in a terminal reaches every process of the group: the servers must outlast
                # the orderly end of the program that uses them.
                start_new_session=True,
                pass_fds=descriptor,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until the server answers.

        :param ready: asked every 50 ms.
        :param seconds: when to give up.
        :raises DemoError: the server ended or did not answer in time; carries the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running or time.monotonic() > deadline:
                state = f"did not answer within {seconds:g} s" if self.running else "ended while starting"
                self.stop()
                raise DemoError(f"{self.name} {state}; the end of {self.log} says: {self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self) -> str:
        """Return the last lines of the server's output, at most 2,000 bytes."""
        text = self.log.read_bytes()[-LOG_TAIL_BYTES:] if self.log.exists() else b""
        return text.decode(errors="replace").strip() or "(nothing)"

    def ask_to_stop(self) -> None:
        """Tell the server to end and do not wait for it, so that several can end at once."""
        if self._guard is not None and self._guard.poll() is None:
            self._guard.terminate()

    def stop(self) -> None:
        """End the server in an orderly way and wait for it; does nothing when it does not run."""
        self.ask_to_stop()
        if self._guard is not None:
            self._guard.wait()
            self._guard = None
        self.release()
