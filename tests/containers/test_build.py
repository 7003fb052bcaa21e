"""The image as Compose builds it: the token of a private dbt project is a secret of the build, and in no part of it."""

from __future__ import annotations

import base64
import subprocess

import pytest

from tests.containers.conftest import IMAGE_TAG
from tests.containers.project import Project
from tests.integration.dbt.git_server import GitServer
from tests.small_project import write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

TOKEN = "canary-of-the-build-7f3a9c"
IN_A_HEADER = base64.b64encode(f"{TOKEN}:".encode()).decode()


def git_server(folder):
    """A server of a small dbt project, for who has the token."""
    repository = write_small_project(folder / "served" / "project")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "All"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command], cwd=repository, check=True)
    return GitServer(repository.parent, TOKEN, "")


def test_the_token_of_a_private_project_is_in_no_layer_and_no_history(engine, network_of_a_build, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    with git_server(tmp_path) as server:
        address = f"http://{server.host}/project/.git#main"
        variables = {
            "CHT_PIPELINE_BRANCH_URL": address,
            "CHT_PIPELINE_TOKEN_FILE": str(tmp_path / "token"),
            "CHT_IMAGE_TAG": f"{IMAGE_TAG}-token",
        }
        project = Project(engine, "cht-containers-token", "local", variables, *network_of_a_build)
        project.compose("build", timeout=1500)
    image = f"cht-sync-airflow:{IMAGE_TAG}-token"
    try:
        installed = project.docker(
            "run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", "cat /opt/cht/pipeline/versions/*/*.json"
        )
        assert address in installed  # what follows looks at an image that holds the project
        words = [word.encode() for word in (TOKEN, IN_A_HEADER)]
        told = project.docker("history", "--no-trunc", image) + project.docker("inspect", image)
        assert address in told
        assert [word for word in words if word.decode() in told] == []
        assert held(project, image, words) == []
        assert held(project, image, [b"cht_sync_wrapper"])  # the look finds what is there
    finally:
        project.docker("rmi", image, check=False)


def held(project: Project, image: str, words: list[bytes]) -> list[bytes]:
    """Which of these words any layer of an image holds."""
    found, kept = set(), b""
    with subprocess.Popen(["docker", "save", image], env=project.environ, stdout=subprocess.PIPE) as saved:
        while chunk := saved.stdout.read(1 << 24):
            kept += chunk
            found |= {word for word in words if word in kept}
            kept = kept[-100:]
    assert saved.returncode == 0
    return sorted(found)


def test_an_address_that_holds_a_token_builds_nothing(engine, network_of_a_build):
    variables = {
        "CHT_PIPELINE_BRANCH_URL": f"https://{TOKEN}@127.0.0.1/project.git",
        "CHT_IMAGE_TAG": f"{IMAGE_TAG}-refused",
    }
    project = Project(engine, "cht-containers-refused", "local", variables, *network_of_a_build)
    said = project.compose("build", "--progress=plain", check=False, timeout=1500)
    assert "give the address without, and the token as the build secret cht_pipeline_token" in said
    assert not project.docker("images", "--quiet", f"cht-sync-airflow:{IMAGE_TAG}-refused").strip()
