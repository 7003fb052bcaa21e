import os
import subprocess
import sys
from pathlib import Path


def test_dbt_ends_with_whoever_started_it():
    reading, writing = os.pipe()
    environ = {**os.environ, "PYTHONPATH": str(Path("plugins").absolute())}
    command = [sys.executable, "-m", "cht_sync.pipeline.aside.process", str(writing), "[]"]
    # The death of the process at the other end of stdin closes it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,), env=environ) as process:
        os.close(writing)
        process.stdin.close()
        assert process.wait(60) == 0
    os.close(reading)
