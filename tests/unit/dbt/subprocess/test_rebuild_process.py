import json
import os
import subprocess
import sys
from pathlib import Path


def test_dbt_ends_with_whoever_started_it():
    reading, writing = os.pipe()
    environ = {**os.environ, "PYTHONPATH": str(Path("plugins").absolute())}
    command = [sys.executable, "-m", "cht_sync.dbt.subprocess.rebuild", str(writing), "[]", "dbt"]
    # The death of the process at the other end of stdin closes it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,), env=environ) as process:
        os.close(writing)
        process.stdin.close()
        assert process.wait(60) == 0
    os.close(reading)


def test_what_goes_wrong_in_it_is_told_and_is_not_its_end():
    reading, writing = os.pipe()
    environ = {**os.environ, "PYTHONPATH": str(Path("plugins").absolute())}
    command = [sys.executable, "-m", "cht_sync.dbt.subprocess.rebuild", str(writing), "[]", "dbt"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(writing,), env=environ, text=True
    ) as process:
        os.close(writing)
        process.stdin.write('{"do": "modified", "profiles": "/nowhere", "wrong": 1}\n')
        process.stdin.flush()
        with os.fdopen(reading) as answers:
            answer = json.loads(answers.readline())
            process.stdin.write('{"do": "end"}\n')
            process.stdin.flush()
            assert process.wait(60) == 0
    assert answer["success"] is False
    assert answer["exception"].startswith("TypeError: ")
