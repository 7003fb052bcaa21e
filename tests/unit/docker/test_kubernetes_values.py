"""The values for the Helm chart: what can be known of them without the chart."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
import yaml

from cht_sync.couchdb.sources import configured_sources
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import REPOSITORY, Settings
from include.docker.refuse_defaults import auth_reasons, reasons

FOLDER = REPOSITORY / "include" / "kubernetes"
COMMON = yaml.safe_load((FOLDER / "values-common.yaml").read_text())
SIMPLE = yaml.safe_load((FOLDER / "values-simple-auth.yaml").read_text())
EXECUTORS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in FOLDER.glob("values-*.yaml")
    if not re.search("common|simple-auth", path.name)
}
SECRET = yaml.safe_load((FOLDER / "connections.yaml").read_text())


@pytest.fixture
def variables(monkeypatch):
    for name, value in SECRET["stringData"].items():
        monkeypatch.setenv(name, value)
    return Settings(SECRET["stringData"])


def test_the_connections_are_those_of_several_servers(variables):
    assert [source["source"] for source in configured_sources(variables)] == [
        "north.example.org/medic", "north.example.org/medic-sentinel", "north.example.org/medic-users-meta",
        "south.example.org/medic", "south.example.org/medic-users-meta",
    ]  # fmt: skip
    raw, models = postgres_connection(variables), dbt_connection(variables)
    assert (raw.login, models.login, raw.schema) == ("cht_sync", "cht_dbt", "cht_sync")
    assert {each.extra_dejson["sslmode"] for each in (raw, models)} == {"verify-full"}


def test_passwords_that_were_not_filled_in_are_known_ones(variables):
    assert len(list(reasons(variables))) == 4


def test_each_executor_is_one_of_airflows_and_lists_are_said_once():
    assert {values["executor"] for values in EXECUTORS.values()} == {"CeleryExecutor", "KubernetesExecutor"}
    for values in EXECUTORS.values():
        # Helm merges maps and replaces lists and texts: one said twice would take the other away.
        assert "env" not in values
        assert "extraEnvFrom" not in values


def test_the_versions_are_those_of_the_image():
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f"slim-{COMMON['airflowVersion']}-" in dockerfile
    assert f"DAGS_FOLDER={COMMON['config']['core']['dags_folder']} " in dockerfile
    assert f"PLUGINS_FOLDER={COMMON['config']['core']['plugins_folder']} " in dockerfile
    assert f"CHT_IMAGE_TAG:-{COMMON['images']['airflow']['tag']}" in (REPOSITORY / "docker-compose.yml").read_text()


def test_no_pod_has_another_image_and_nobody_gets_a_known_password():
    """The chart takes its own image for pods of KubernetesExecutor, and makes a user admin, unless told otherwise."""
    image = COMMON["images"]["airflow"]
    assert COMMON["images"]["pod_template"] == image
    assert "extraInitContainers" not in COMMON["apiServer"]
    for container in SIMPLE["apiServer"]["extraInitContainers"]:
        assert container["image"] == f"{image['repository']}:{image['tag']}"
    assert COMMON["createUserJob"] == {"enabled": False}


def test_logins_made_for_development_need_a_file_of_their_own():
    assert not list(auth_reasons(COMMON["config"]["core"]["auth_manager"], {}))
    assert list(auth_reasons(SIMPLE["config"]["core"]["auth_manager"], {}))
    # The image holds what the values name.
    assert "apache-airflow-providers-fab" in (REPOSITORY / "requirements-image.in").read_text()
    # Helm merges maps and replaces the rest: what both files say would be lost.
    shared = COMMON["apiServer"].keys() & SIMPLE["apiServer"].keys()
    assert not shared
    (mount,) = SIMPLE["apiServer"]["extraVolumeMounts"]
    assert SIMPLE["config"]["core"]["simple_auth_manager_passwords_file"].startswith(f"{mount['mountPath']}/")


def test_cookies_are_for_https_alone_behind_an_ingress():
    assert COMMON["config"]["fab"]["cookie_secure"] == "True"
    assert COMMON["apiServer"]["args"][-1] == "exec airflow api-server --proxy-headers"
    (trusted,) = COMMON["apiServer"]["env"]
    assert trusted["name"] == "FORWARDED_ALLOW_IPS"
    assert all(ip_network(each).is_private for each in trusted["value"].split(","))


def test_no_password_is_in_the_values():
    for path in FOLDER.glob("values-*.yaml"):
        text = re.sub(r"#.*", "", path.read_text())
        assert not re.search(r"(?i)(password|secret|token|key): (?!.*(/|~|cht-sync-))\S", text), path.name
    assert COMMON["extraEnvFrom"].strip().endswith(f"name: {SECRET['metadata']['name']}")
