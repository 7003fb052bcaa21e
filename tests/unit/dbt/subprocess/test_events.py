import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cht_sync.dbt.subprocess.events import line_of, print_line, read_line


def event(level, msg, code="Q001"):
    return SimpleNamespace(info=SimpleNamespace(level=level, msg=msg, code=code))


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("info", "1 of 2 OK"), (logging.INFO, "1 of 2 OK")),
        (event("warn", "an unused path"), (logging.WARNING, "an unused path")),
        (event("error", "Database Error"), (logging.ERROR, "Database Error")),
        (event("debug", "select 1"), None),
        (event("info", "  \n"), None),
        (event("warn", "moved", "D034"), None),
    ],
)
def test_what_dbt_tells_has_its_level(told, line, capsys):
    assert line_of(told) == line
    print_line(told)
    out = capsys.readouterr().out
    assert (read_line(out) if out else None) == line


@pytest.mark.parametrize("text", ["plain words", "[1, 2]", "[20]", '{"a": 1}', "5"])
def test_what_others_print_is_news(text):
    assert read_line(text + "\n") == (logging.INFO, text)


TASK = """
import json, os, sys
from cht_sync.dbt.subprocess.events import NO_SEMAPHORES, let_go
if sys.argv[1] == "killed":
    os.environ["PYTHONWARNINGS"] = NO_SEMAPHORES
from dbt.mp_context import get_mp_context
from dbt.adapters.factory import FACTORY
FACTORY.adapters["x"] = type("Adapter", (), {"cleanup_connections": lambda self: None, "lock": get_mp_context().RLock()})()
if sys.argv[1] == "ended":
    let_go()
os._exit(0)
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_task_that_ends_at_once_leaves_no_lines_about_semaphores(how):
    environ = {**os.environ, "PYTHONPATH": str(Path("plugins").absolute())}
    done = subprocess.run([sys.executable, "-c", TASK, how], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr, json.dumps(done.stdout)) == (0, "", '""')
