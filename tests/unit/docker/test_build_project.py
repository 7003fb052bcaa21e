"""The dbt project in an image: what may come as an argument of the build, and what only as a secret."""

import os
import subprocess
import sys

import pytest

from cht_sync.settings.settings import REPOSITORY
from include.docker.build_project import refusal, with_secrets

SCRIPT = REPOSITORY / "include" / "docker" / "build_project.py"


@pytest.mark.parametrize(
    "address",
    [
        "https://ghp_s3cret@github.com/o/r.git#main",
        "https://me:s3cret@github.com/o/r.git",
        "HTTPS://ME:S3CRET@github.com/o/r.git".replace("S3CRET", "s3cret"),
        "http://:s3cret@h/r.git",
        "https://h/r.git?private_token=s3cret",
        "ssh://git:s3cret@h/r.git",
        "git://s3cret@h/r.git",
        "https://s3cret@[::1/r.git",
        "https://s3cret\\@h/r.git",
    ],
)
def test_an_address_with_credentials_is_refused_as_an_argument(address, tmp_path):
    said = refusal({"CHT_PIPELINE_BRANCH_URL": address})
    assert "CHT_PIPELINE_BRANCH_URL" in said
    assert "build secret cht_pipeline_token" in said
    assert "s3cret" not in said
    environ = {**os.environ, "CHT_PIPELINE_BRANCH_URL": address, "CHT_PIPELINE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, SCRIPT], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{said}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    ["", "https://github.com/o/r.git#main", "https://h:8443/r.git", "git@h:o/r.git", "ssh://git@h/r.git", "/srv/r@2"],
)
def test_an_address_without_is_taken(address):
    assert refusal({"CHT_PIPELINE_BRANCH_URL": address}) == ""


def test_what_is_secret_comes_from_files_of_the_build(tmp_path):
    environ = {"CHT_PIPELINE_BRANCH_URL": "https://h/r.git"}
    with_secrets(environ, tmp_path)
    # Where nobody gives a token, Compose mounts an empty file.
    (tmp_path / "cht_pipeline_token").write_text("")
    with_secrets(environ, tmp_path)
    assert environ == {"CHT_PIPELINE_BRANCH_URL": "https://h/r.git"}
    (tmp_path / "cht_pipeline_token").write_text("t0ken\n")
    with_secrets(environ, tmp_path)
    assert environ["CHT_PIPELINE_TOKEN_FILE"] == str(tmp_path / "cht_pipeline_token")
    (tmp_path / "cht_pipeline_branch_url").write_text("https://t0ken@h/r.git\n")
    with_secrets(environ, tmp_path)
    assert environ["CHT_PIPELINE_BRANCH_URL"] == "https://t0ken@h/r.git"
