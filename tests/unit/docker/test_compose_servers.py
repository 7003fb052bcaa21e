"""Each service of docker-compose.yml whose code reaches a server has what that code reads, in every profile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
import yaml

from cht_sync.settings.settings import REPOSITORY, Settings

COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DEPLOYMENTS = ["local", "gamma", "production", "celery"]
COUCHDB, POSTGRES = (
    {"couchdb", "couchdb_tls"},
    {"postgres", "postgres_tls", "dbt_postgres_overrides", "dbt_postgres_tls"},
)
# By what a service of our image is: the properties of Settings that its code reads to reach a server. A new one has to
# be added here.
READS: dict[str, set[str]] = {
    "scheduler": COUCHDB | POSTGRES,  # LocalExecutor's tasks; with Celery `python -m cht_sync check` is asked there
    "worker": COUCHDB | POSTGRES,
    "triggerer": COUCHDB | POSTGRES,  # triggers.changes: waits for CouchDB, notes in couchdb_progress
    "init": COUCHDB | POSTGRES,  # refuse_defaults.py, the dbt project, check
    "api-server": POSTGRES,  # the status page and the metrics
    "dag-processor": POSTGRES,  # the report's asset is named after the server; callbacks of tasks that were killed
    "generator": {"couchdb"},  # include.demo.live, of the profile local alone
    "keys": set(),
    "log-groomer": set(),
}


class Asked(Mapping):
    """An environment that notes which variables are asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def variables(properties: set[str]) -> set[str]:
    """The environment variables that these properties read."""
    asked = Asked()
    for name in properties:
        getattr(Settings(asked), name)
    return asked.names


def of(profile: str) -> dict:
    return {name: service for name, service in SERVICES.items() if profile in service["profiles"]}


def role(name: str, service: dict) -> str:
    """What a service of our image is: by its command, else by its name."""
    command = [word for word in service.get("command") or [] if not word.startswith("-")]
    return (command or [name.removesuffix("-local")])[-1]


def ours(profile: str) -> dict:
    return {name: service for name, service in of(profile).items() if "cht-sync-airflow" in service["image"]}


@pytest.mark.parametrize("profile", DEPLOYMENTS)
def test_who_reaches_a_server_has_what_its_code_reads(profile):
    for name, service in ours(profile).items():
        given, read = service.get("environment", {}), variables(READS[role(name, service)])
        if profile == "local":
            # The rest are defaults: no TLS, the usual ports, one role.
            read &= {f"{server}_{what}" for server in ("COUCHDB", "POSTGRES") for what in ("HOST", "USER", "PASSWORD")}
        else:
            # Passwords by their files alone.
            read = {variable for variable in read if f"{variable}_FILE" not in read}
        assert read <= given.keys(), name


@pytest.mark.parametrize("profile", DEPLOYMENTS)
def test_they_all_mean_the_same_servers_and_can_reach_them(profile):
    named: dict[str, set[str]] = {}
    for name, service in ours(profile).items():
        if not (read := variables(READS[role(name, service)])):
            continue
        assert "default" in service.get("networks", {"default": None}), name
        assert "network_mode" not in service, name
        assert service.get("user") is None, name
        for variable in read & service["environment"].keys():
            named.setdefault(variable, set()).add(service["environment"][variable])
    assert {variable: values for variable, values in named.items() if len(values) > 1} == {}
    if profile == "local":
        assert of("local").keys() >= named["COUCHDB_HOST"] | named["POSTGRES_HOST"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_secret_that_is_named_is_mounted_and_none_in_vain(name):
    service = SERVICES[name]
    words = " ".join([*map(str, service.get("environment", {}).values()), *(service.get("command") or [])])
    named = set(re.findall(r"/run/secrets/([\w.]+)", words))
    # Superset's two are read by superset_config.py and init.sh.
    assert set(service.get("secrets", [])) - {"superset_secret_key", "superset_password"} == named


@pytest.mark.parametrize("profile", ["gamma", "production", "celery"])
def test_no_password_of_couchdb_is_used_before_init_has_judged_it(profile):
    for name, service in ours(profile).items():
        if name != "init" and "couchdb_password" in service.get("secrets", []):
            assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}, name
