"""What init.sh does in which order, with programs in place of ``python`` and ``airflow`` that note how they are called."""

import os
import subprocess

import pytest

from cht_sync.settings.settings import REPOSITORY

NOTE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in *{failing}*) exit 1;; esac
"""


def run(folder, profile, failing):
    for name in ("python", "airflow"):
        program = folder / name
        program.write_text(NOTE.format(failing=failing))
        program.chmod(0o755)
    environ = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls")}
    done = subprocess.run(
        ["bash", REPOSITORY / "include/docker/init.sh", profile], env=environ, capture_output=True, check=False
    )
    return done.returncode, [line.split()[-1].rsplit("/")[-1] for line in (folder / "calls").read_text().splitlines()]


ALL = ["refuse_defaults.py", "migrate", "pipeline", "check"]


@pytest.mark.parametrize(
    ("profile", "failing", "code", "calls"),
    [
        ("remote", "nothing", 0, ALL),
        ("local", "nothing", 0, ALL[1:]),
        # A profile that is misspelt is no local one.
        ("", "nothing", 0, ALL),
        ("remote", "refuse_defaults", 1, ALL[:1]),
        ("remote", "migrate", 1, ALL[:2]),
        ("remote", "pipeline", 0, ALL),
        ("remote", "check", 0, ALL),
    ],
)
def test_nothing_starts_with_known_passwords_and_no_project_holds_up_the_copy(tmp_path, profile, failing, code, calls):
    assert run(tmp_path, profile, failing) == (code, calls)
