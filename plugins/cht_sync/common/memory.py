"""A bound for the memory of code that reads whatever a server answers."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Lets this process have so many bytes more than it has now; beyond that Python raises a MemoryError.

    It counts for all threads. Where the system does not tell what a process has, as macOS, there is no bound.
    Source: https://man7.org/linux/man-pages/man2/getrlimit.2.html, RLIMIT_DATA
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    has = _now()
    bounds = [bound for bound in (before[0], before[1], has + more) if bound != resource.RLIM_INFINITY]
    if has:
        resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _now() -> int:
    """Bytes of data of this process, as the limit counts them; 0 where nobody says."""
    try:
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration, ValueError):
        return 0
