"""A pgbouncer before the PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest


def required() -> str:
    """The program; skips the test where it is missing, unless ``REQUIRE_PGBOUNCER`` says that it must not be."""
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        if os.environ.get("REQUIRE_PGBOUNCER"):
            pytest.fail("pgbouncer is missing")
        pytest.skip("needs pgbouncer, for example of Debian")
    return program


class PgBouncer:
    """A running pgbouncer on a port of its own.

    :param server: the server behind it.
    :param folder: an empty one, which an account without rights can read.
    :param options: of its configuration, such as ``pool_mode``.
    """

    host = "127.0.0.1"

    def __init__(self, server, folder: Path, **options: str | int) -> None:
        self._server, self._folder, self._options = server, folder, options
        with socket.socket() as free:
            free.bind((self.host, 0))
            self.port = free.getsockname()[1]

    def __enter__(self) -> PgBouncer:
        program = required()
        server, options = self._server, {"default_pool_size": 5, **self._options}
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"* = host={server.host} port={server.port} user={server.user} password={server.password}\n"
            f"[pgbouncer]\nlisten_addr = {self.host}\nlisten_port = {self.port}\nauth_type = any\nunix_socket_dir =\n"
            + "".join(f"{name} = {value}\n" for name, value in options.items())
        )
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([program, *account, configuration], stdout=log, stderr=log)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return self
            time.sleep(0.05)
        raise AssertionError((self._folder / "log").read_text())

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
