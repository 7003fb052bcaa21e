"""The profile `local` with a CouchDB of this machine and models of one's own, by the files in include/docker/with."""

from __future__ import annotations

import pytest

from cht_sync.settings.settings import REPOSITORY
from tests.containers.conftest import IMAGE_TAG
from tests.containers.project import Project, free_port
from tests.small_project import write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

WITH = REPOSITORY / "include/docker/with"
PASSWORD = "canary-of-my-couchdb-91be"
LOOK = "import socket; print(socket.gethostbyname('host.docker.internal'))"


def test_my_couchdb_and_my_models_take_the_place_of_the_generated_ones(engine, image, tmp_path):
    (tmp_path / "couchdb_password").write_text(PASSWORD)
    (tmp_path / "couchdb_password").chmod(0o444)
    models = write_small_project(tmp_path / "models")
    couchdb = free_port()
    variables = {
        "CHT_IMAGE_TAG": IMAGE_TAG, "AIRFLOW_PORT": free_port(), "POSTGRES_LOCAL_PORT": free_port(),
        "COUCHDB_HOST": "host.docker.internal", "COUCHDB_PORT": couchdb, "COUCHDB_SECURE": "false",
        "COUCHDB_USER": "reader", "COUCHDB_PASSWORD_FILE": str(tmp_path / "couchdb_password"), "COUCHDB_DBS": "medic",
        "DBT_LOCAL_PATH": str(models),
    }  # fmt: skip
    files = (WITH / "my-couchdb.yml", WITH / "models-folder.yml")
    project = Project(engine, "cht-containers-own", "local", variables, *files)
    name = "cht-containers-couchdb"
    try:
        project.remove()
        image = "couchdb:3.5.0"
        project.docker(
            "run", "--detach", f"--name={name}", "--env=COUCHDB_USER=reader", f"--env=COUCHDB_PASSWORD={PASSWORD}",
            f"--publish={gateway(project)}:{couchdb}:5984", image,
        )  # fmt: skip
        project.compose("up", "--detach", "--no-build", "init-local", timeout=900)
        project.wait_for(lambda: project.states()["init-local"]["Status"] == "exited", "init")
        said = project.logs("init-local")
        assert project.states().keys() == {"keys", "airflow-db", "postgres", "init-local"}
        assert f"at http://host.docker.internal:{couchdb}, signed in as reader" in said
        assert "dbt project: /models" in said
        assert PASSWORD not in said + "".join(project.environments().values())
    finally:
        project.docker("rm", "--force", name, check=False)
        project.remove()


def gateway(project: Project) -> str:
    """The address of this machine that containers call host.docker.internal."""
    image, host = f"cht-sync-airflow:{IMAGE_TAG}", "--add-host=host.docker.internal:host-gateway"
    return project.docker("run", "--rm", host, "--entrypoint=python", image, "-c", LOOK).strip()
