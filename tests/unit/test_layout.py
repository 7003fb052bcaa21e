"""The plan of the package holds: which folder may import which, as pyproject.toml has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cht_sync.settings.settings import REPOSITORY

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder, plugins):
    environment = {**os.environ, "PYTHONPATH": str(plugins)}
    return subprocess.run(
        [LINT, "--no-cache"], check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_no_folder_imports_one_above_it():
    done = lint(REPOSITORY, REPOSITORY / "plugins")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_an_import_against_the_plan_is_found(tmp_path):
    """A copy of the package in which what reads CouchDB knows of a table."""
    for file in (REPOSITORY / "plugins" / "cht_sync").rglob("*.py"):
        copied = tmp_path / "plugins" / file.relative_to(REPOSITORY / "plugins")
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(file.read_text("utf-8"), "utf-8")
    (tmp_path / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text())
    hook = tmp_path / "plugins" / "cht_sync" / "couchdb" / "hook.py"
    hook.write_text(hook.read_text("utf-8") + "\nfrom cht_sync.store.checkpoints import READ_AGAIN  # noqa\n", "utf-8")
    done = lint(tmp_path, tmp_path / "plugins")
    assert done.returncode == 1
    assert "cht_sync.couchdb.hook -> cht_sync.store.checkpoints" in done.stdout
