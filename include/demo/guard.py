"""Runs one server and ends it as soon as the process that asked for it is gone, however that one went.

Run as a script: ``python guard.py <parent pid> <uid> <gid> <command> [argument ...]``, -1 for "as I am".
A guard stands between because Linux ends a child with the *thread* that started it: a server started from a
worker thread would die with that thread. The guard looks at its parent process instead, and its own main thread
is what the server is bound to. Only the standard library is used, so that it starts in milliseconds.
"""

import ctypes
import os
import signal
import subprocess
import sys

LOOK_SECONDS = 0.2
GRACE_SECONDS = 20.0
PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    # Linux only, and only for a guard that is killed with -9; elsewhere such a server stays behind.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _identity(uid: int, gid: int) -> dict[str, object]:
    return {} if uid < 0 else {"user": uid, "group": gid, "extra_groups": []}


def _end(server: "subprocess.Popen[bytes]") -> int:
    # SIGINT is the orderly and quick end for both servers: PostgreSQL's fast shutdown, exit(0) of the other.
    server.send_signal(signal.SIGINT)
    try:
        return server.wait(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def main(arguments: list[str]) -> int:
    """Run the command until it ends, SIGTERM comes or the parent is gone; return its exit code.

    :param arguments: parent pid, uid, gid (-1: unchanged) and the command with its arguments.
    """
    parent, uid, gid = (int(value) for value in arguments[:3])
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked.append(received))
    server = subprocess.Popen(  # type: ignore[call-overload]
        arguments[3:],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_guard,  # noqa: PLW1509 - a guard has one thread
        **_identity(uid, gid),
    )
    while not asked and os.getppid() == parent:
        try:
            return int(server.wait(timeout=LOOK_SECONDS))
        except subprocess.TimeoutExpired:
            continue
    return _end(server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
