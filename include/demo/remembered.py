"""What a server folder keeps between two starts: the generated password and the port."""

import os
import random
import secrets
import socket
from pathlib import Path

from include.demo.errors import DemoError

HOST = "127.0.0.1"
# Below the range from which Linux takes ports of outgoing connections (32768 and up): a remembered port
# stays free until the next start.
PORTS = range(20000, 32000)


def remembered_password(folder: Path, given: str | None, changeable: bool) -> str:
    """Return the password of a server folder; the first call decides and writes it (mode 0600).

    :param folder: the server's folder.
    :param given: the password wanted; default: the remembered one, else a generated one.
    :param changeable: whether a password other than the remembered one may take its place.
    :raises DemoError: another password was given before and cannot be changed.
    """
    file = folder / "password"
    known = file.read_text().strip() if file.exists() else None
    if known and given and known != given and not changeable:
        raise DemoError(
            f"The server folder {folder} was made with another password than the one given: "
            f"leave the password out (it is in {file}) or give another folder."
        )
    password = given or known or secrets.token_urlsafe(18)
    if password != known:
        _write_private(file, password)
    return password


def choose_port(folder: Path, given: int | None) -> int:
    """Return a free TCP port of 127.0.0.1: the given one, else the remembered one, else any; remember it.

    :param folder: the server's folder.
    :param given: the port wanted; default: the one of the last start where it is still free.
    :raises DemoError: the given port is taken.
    """
    file = folder / "port"
    if given is not None and not _is_free(given):
        raise DemoError(f"Port {given} of {HOST} is in use: give another port or end the program that holds it.")
    known = [int(file.read_text())] if file.exists() else []
    candidates = [given] if given is not None else known + random.SystemRandom().sample(PORTS, 50)
    port = next((candidate for candidate in candidates if _is_free(candidate)), None)
    if port is None:
        raise DemoError(f"No free port of {HOST} found between {PORTS.start} and {PORTS.stop}: give one.")
    file.write_text(f"{port}\n")
    return port


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(f"{text}\n")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Without it a port whose last connections are still in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
