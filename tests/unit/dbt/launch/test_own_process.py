"""dbt's own process: what it begins with, how it ends, and how it is forked from one that is warm."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cht_sync.dbt.launch import warm_dbt
from cht_sync.dbt.launch.own_process import OwnProcess, ProcessEndedError

ECHO = "tests.unit.dbt.launch.echo"
CANARY = "canary-of-a-secret"
ROOT = str(Path(__file__).parents[4])


@pytest.fixture
def environment():
    paths = os.pathsep.join([str(Path("plugins").absolute()), ROOT])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "ONLY": "this"}


@pytest.fixture(params=["fresh", "warm"])
def started(request, environment, monkeypatch):
    """Starts an echo, by itself or by a fork of a process that has loaded it."""
    monkeypatch.setenv("COUCHDB_PASSWORD", CANARY)
    held = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(held, True)
    monkeypatch.setattr(warm_dbt, "_warm", None)
    if request.param == "warm":
        monkeypatch.setattr(warm_dbt, "_LOADED", (ECHO,))
        monkeypatch.setattr(warm_dbt, "to_start", lambda: environment)
        warm_dbt.keep_warm()
    made = []

    def start(**more):
        made.append(OwnProcess(ECHO, {**environment, **more}, Path("/"), ["one", "two"], [CANARY]))
        return made[-1]

    yield start
    for each in made:
        each.end(at_once=True)
    os.close(held)
    if warm_dbt._warm:
        process, sock = warm_dbt._warm
        sock.close()
        assert process.wait(20) == 0


def test_it_gets_what_it_is_given_and_nothing_else(started):
    found = started(MORE="too").ask("look")
    assert found["arguments"] == ["one", "two"]
    assert (found["environment"]["ONLY"], found["environment"]["MORE"]) == ("this", "too")
    assert set(found["environment"]) - {"LC_CTYPE"} == {"PATH", "PYTHONPATH", "ONLY", "MORE"}
    assert CANARY not in found["environ_file"]
    assert found["folder"] == "/"


def test_it_inherits_no_open_file(started):
    process = started()
    process.ask("look")
    numbers = {int(each) for each in os.listdir(f"/proc/{process.pid}/fd")}
    targets = {os.readlink(f"/proc/{process.pid}/fd/{each}") for each in numbers}
    # Pipes of its own, and what a process that is warm wakes up by.
    assert not {each for each in targets if each.startswith(("/dev/null", "socket:")) or "canary" in each}
    assert len([each for each in targets if each.startswith("pipe:")]) <= 4


def test_it_tells_before_it_answers(started):
    told = []
    assert started().ask("count", told.append, to=3) == {"done": 3}
    assert told == [{"number": number} for number in range(3)]


def test_its_end_is_told(started):
    process = started()
    with pytest.raises(ProcessEndedError) as caught:
        process.ask("leave", code=7)
    assert (caught.value.code, process.ended) == (7, True)


def test_a_kill_is_told(started):
    process = started()
    with pytest.raises(ProcessEndedError) as caught:
        process.ask("die")
    assert caught.value.code == -signal.SIGKILL


def test_several_at_once_end_one_by_one(started):
    first, second = started(), started()
    first.ask("look")
    first.end()
    assert not _lives(first.pid)
    assert second.ask("count", to=1) == {"done": 1}


def test_it_ends_at_once_in_the_middle_of_a_command(started):
    process = started()
    process._commands.write(json.dumps({"do": "sleep"}) + "\n")
    process._commands.flush()
    began = time.monotonic()
    process.end(at_once=True)
    assert time.monotonic() - began < 5
    assert not _lives(process.pid)


def test_where_the_warm_one_was_killed_another_is_started(environment, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    monkeypatch.setattr(warm_dbt, "_warm", (gone, ours))
    process = OwnProcess(ECHO, environment, Path("/"))
    assert process.ask("count", to=2) == {"done": 2}
    process.end()
    ours.close()


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
