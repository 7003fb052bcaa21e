"""What the repository's host and git run beside the code: the same checks as a person, on the Python that is tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from cht_sync.settings.settings import REPOSITORY

HOST = REPOSITORY / ".github"


def read(path: Path):
    return yaml.safe_load(path.read_text())


def test_the_workflow_runs_all_that_a_person_runs():
    workflow = read(HOST / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert python == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    assert workflow["permissions"] == {"contents": "read"}
    # YAML reads the word "on" as a truth value.
    assert {"push", "pull_request"} <= set(workflow[True])


def test_git_runs_before_a_commit_what_lint_runs():
    (lint,) = re.findall(r"^lint: install\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.M)
    wanted = {line.removeprefix("\t$(BIN)/").replace(" --check", "").removesuffix(" .") for line in lint.splitlines()}
    (repository,) = read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    entries = {hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]}
    assert entries == {f".venv/bin/{command}" for command in wanted}


@pytest.mark.parametrize("form", sorted((HOST / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda file: file.stem)
def test_an_issue_is_asked_for_what_helps(form: Path):
    content = read(form)
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert content["name"]
    assert content["description"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
