"""Which service of docker-compose.yml sees which keys: those that its code needs, and no other."""

from __future__ import annotations

import re

import pytest
import yaml

from cht_sync.settings.settings import REPOSITORY
from include.docker.keys import HANDED_OUT, RANDOM

SERVICES = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
KEYS = "/opt/cht/keys/"
DATABASE, FERNET, JWT, API, CELERY = "database", "fernet", "jwt", "api", "celery"
# By what Airflow 3.3 reads where:
# - fernet: airflow.models.connection, .variable and .trigger, also through the execution API in the process of the DAG
#   processor and the triggerer; a worker asks the API server
# - jwt: tokens of tasks, given by the scheduler's executor and taken by the API server
# - api: what the API server signs; logs that the scheduler with LocalExecutor and workers serve of tasks that run
NEEDS: dict[str, set[str]] = {
    "keys": {"all", *HANDED_OUT},
    "airflow-db": {DATABASE},
    "api-server": {DATABASE, FERNET, JWT, API, "ui"},
    "dag-processor": {DATABASE, FERNET},
    "triggerer": {DATABASE, FERNET},
    "init": {DATABASE, FERNET},
    "scheduler": {DATABASE, FERNET, JWT, API},
    "scheduler-celery": {DATABASE, FERNET, JWT, CELERY},
    "worker": {DATABASE, API, CELERY},
    "redis": {"redis"},
}


def mounted(service: dict) -> dict[str, list[str]]:
    """Volumes of keys by their name without the beginning, each with the place and the mode."""
    found = {}
    for volume in service.get("volumes", []):
        name, *rest = volume.split(":")
        if name == "keys" or name.startswith("key-"):
            found[name.removeprefix("key-") if name != "keys" else "all"] = rest
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_sees_the_keys_that_it_needs_and_no_other(name):
    assert mounted(SERVICES[name]).keys() == NEEDS.get(name.removesuffix("-local"), set())


@pytest.mark.parametrize("name", SERVICES)
def test_no_key_can_be_changed_but_the_passwords_of_the_simple_auth_manager(name):
    for part, (place, *mode) in mounted(SERVICES[name]).items():
        if name != "keys" and part != "ui":
            assert mode == ["ro"], part
        if SERVICES[name]["image"].startswith("cht-sync-airflow"):
            assert place == f"{KEYS}{part}"


@pytest.mark.parametrize("name", SERVICES)
def test_each_key_that_a_setting_names_is_mounted_and_none_in_vain(name):
    service = SERVICES[name]
    if name == "keys":
        return
    values = [*(service.get("environment") or {}).values(), *(service.get("command") or [])]
    named = {match for value in values for match in re.findall(r"(?:/opt/cht)?/keys/\S+", str(value))}
    parts = {place: part for part, (place, *_) in mounted(service).items()}
    for path in named:
        folder, _, file = path.rpartition("/")
        assert file in HANDED_OUT[parts[folder]], path
    # By their settings alone components would not find a key: each part is named.
    assert {path.rpartition("/")[0] for path in named} == parts.keys()


def test_whoever_makes_the_keys_reaches_nothing():
    assert SERVICES["keys"]["network_mode"] == "none"
    assert SERVICES["keys"]["entrypoint"][-2:] == [f"{KEYS}all", KEYS.rstrip("/")]
    assert RANDOM.keys() - {"redis_password"} <= {name for names in HANDED_OUT.values() for name in names}


def test_the_image_has_each_folder_so_that_a_new_volume_belongs_to_its_user():
    made = re.search(r"/opt/cht/keys/\{([a-z,]+)\}", (REPOSITORY / "Dockerfile").read_text())[1]
    assert set(made.split(",")) == NEEDS["keys"]


@pytest.mark.parametrize("name", ["api-server", "api-server-local"])
def test_the_api_server_writes_to_no_volume_but_its_passwords(name):
    writable = [volume.split(":")[0] for volume in SERVICES[name]["volumes"] if not volume.endswith(":ro")]
    assert writable == ["key-ui"]


@pytest.mark.parametrize("name", ["triggerer", "triggerer-local"])
def test_the_triggerer_serves_no_logs_since_it_could_not_judge_who_asks(name):
    assert SERVICES[name]["command"] == ["triggerer", "--skip-serve-logs"]
    assert "logs:/opt/airflow/logs" in SERVICES[name]["volumes"]
