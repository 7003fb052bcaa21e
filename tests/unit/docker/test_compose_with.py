"""The Compose files that are added to docker-compose.yml for one case each."""

from __future__ import annotations

import re

import pytest
import yaml

from cht_sync.settings.settings import REPOSITORY

SERVICES = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
FOLDER = REPOSITORY / "include/docker/with"
FILES = sorted(FOLDER.glob("*.yml"))
TEMPLATE = (REPOSITORY / ".env.template").read_text()
TASKS = {"init", "init-local", "scheduler", "scheduler-local", "scheduler-celery", "worker"}


def added(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text())["services"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_says_how_it_is_used_and_adds_to_services_that_there_are(file):
    text = file.read_text()
    assert f"#   COMPOSE_FILE=docker-compose.yml:include/docker/with/{file.name}\n" in text
    assert yaml.safe_load(text)["services"].keys() <= SERVICES.keys()
    for variable in {*re.findall(r"\$\{(\w+)", text), *re.findall(r"^#   (\w+)=", text, re.M)} - {"COMPOSE_FILE"}:
        assert re.search(rf"^{variable}=", TEMPLATE, re.M), variable
    page = (REPOSITORY / "docs/how-to-docker.md").read_text()
    assert f"include/docker/with/{file.name}" in page


@pytest.mark.parametrize("name", ["models-folder.yml", "dbt-variables.yml"])
def test_whatever_runs_dbt_or_fetches_its_project_gets_it(name):
    assert added(name).keys() == TASKS
    assert len({str(each) for each in added(name).values()}) == 1


def test_a_folder_of_models_is_read_only_and_has_one_place():
    (models,) = {str(each): each for each in added("models-folder.yml").values()}.values()
    (volume,) = models["volumes"]
    assert volume.endswith(f":{models['environment']['DBT_LOCAL_PATH']}:ro")


def test_certificates_are_where_code_reaches_a_server():
    remote = {name for name, each in SERVICES.items() if "POSTGRES_HOST" in (each.get("environment") or {})}
    reach = {name for name in remote if not name.endswith("-local") or name in TASKS | {"triggerer-local"}}
    assert added("certificates.yml").keys() == reach
    assert all(each["volumes"] == ["./certificates:/certificates:ro"] for each in added("certificates.yml").values())


def test_my_couchdb_takes_the_place_of_the_generated_one_wherever_that_was_asked():
    services = added("my-couchdb.yml")
    asked = {
        name
        for name, each in SERVICES.items()
        if "local" in each["profiles"] and "COUCHDB_HOST" in (each.get("environment") or {})
    }
    assert services.keys() == asked - {"generator"} | {"couchdb", "generator"}
    assert services["couchdb"] == services["generator"] == {"scale": 0}
    for name in asked - {"generator"}:
        environment = services[name]["environment"]
        # By a file alone, and of the server that production would ask.
        assert environment["COUCHDB_PASSWORD"] == ""
        assert environment["COUCHDB_PASSWORD_FILE"] == "/run/secrets/couchdb_password"
        given = {
            each: value for each, value in SERVICES["scheduler"]["environment"].items() if each.startswith("COUCHDB_")
        }
        assert environment.keys() >= given.keys() - {"COUCHDB_DBS", "COUCHDB_URL"}


def test_a_server_on_this_machine_has_a_name_in_every_container_of_ours():
    for name, service in SERVICES.items():
        if service["image"].startswith("cht-sync-airflow"):
            # As mappings: Compose merges no empty list with another file.
            hosts = {"host.docker.internal": "host-gateway"}
            assert service["extra_hosts"] == ({} if service.get("network_mode") == "none" else hosts), name
