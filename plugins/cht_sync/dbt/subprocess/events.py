"""What dbt tells while it works, as lines for a log with their level."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
# dbt's console, which knows no levels, says nothing: its events are told in its place.
NO_CONSOLE = ("--log-level", "none")
# Multiprocessing's helper tells at length of what a process leaves that is ended early, and takes it away itself.
# Source: https://docs.python.org/3/using/cmdline.html#envvar-PYTHONWARNINGS
NO_SEMAPHORES = "ignore:resource_tracker"


def line_of(event: Any) -> tuple[int, str] | None:
    """The level and text of what dbt's console would show, else None; deprecations are shown when a version is built.

    Source: https://docs.getdbt.com/reference/events-logging
    """
    info = event.info
    text = str(info.msg).strip()
    if not text or info.level not in LEVELS or str(info.code).startswith("D0"):
        return None
    return LEVELS[info.level], text


def print_line(event: Any) -> None:
    """A callback for dbt in a process of its own: writes a line of JSON that :func:`read_line` reads."""
    if line := line_of(event):
        print(json.dumps(line), flush=True, file=sys.stdout)


def read_line(line: str) -> tuple[int, str]:
    """Level and text of a line of another process; one that is not of :func:`print_line` counts as info."""
    try:
        level, text = json.loads(line)
    except (ValueError, TypeError):
        level, text = None, ""
    return (level, str(text)) if level in LEVELS.values() else (logging.INFO, line.rstrip())


def let_go() -> None:
    """Gives back what dbt keeps in a process that Airflow ends without any ceremony."""
    import gc

    from dbt.adapters.factory import reset_adapters

    reset_adapters()
    # Its locks are semaphores of the machine, and taken away with the objects.
    gc.collect()
