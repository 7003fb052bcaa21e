"""The promises of docker-compose.yml, Dockerfile and .dockerignore, read from the files themselves."""

from __future__ import annotations

import os
import re
import subprocess
from ipaddress import ip_network
from runpy import run_path

import pytest
import yaml

from cht_sync.check.settings import UNREAD, check_unread
from cht_sync.settings.settings import REPOSITORY, Settings

TEXT = (REPOSITORY / "docker-compose.yml").read_text()
DOCKERFILE_OF_SUPERSET = (REPOSITORY / "include/docker/superset/Dockerfile").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
TEMPLATE = set(re.findall(r"^([A-Z0-9_]+)=", (REPOSITORY / ".env.template").read_text(), re.M))
PROFILES = {"local", "gamma", "production", "celery", "monitoring", "superset", "postgrest"}
AIRFLOW = {"dag-processor", "triggerer", "api-server"}
DEPLOYMENTS = ["local", "gamma", "production", "celery"]


def of(profile: str) -> dict:
    return {name: service for name, service in SERVICES.items() if profile in service["profiles"]}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_looked_after(name):
    service = SERVICES[name]
    assert set(service["profiles"]) <= PROFILES
    assert ("healthcheck" in service) != ("x-no-healthcheck" in service)
    runs_once = "runs once" in service.get("x-no-healthcheck", "")
    assert service["restart"] == ("no" if runs_once else "unless-stopped")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z0-9./-]+:(v?\d+\.\d+[\w.-]*|\$\{CHT_IMAGE_TAG:-\d+\.\d+\.\d+\})", image)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("profile", DEPLOYMENTS)
def test_a_profile_is_whole_by_itself(profile):
    services = of(profile)
    assert services.keys() >= {f"{name}-local" if profile == "local" else name for name in AIRFLOW}
    # Tasks call it by this name.
    assert [
        name
        for name, service in services.items()
        if "api-server" in (name, *service.get("networks", {}).get("default", {}).get("aliases", []))
    ] == ["api-server-local" if profile == "local" else "api-server"]
    # One scheduler, one init: two would be two Airflows on one database.
    assert sum("scheduler" in (service.get("command") or []) for service in services.values()) == 1
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {volume for volume in used if not volume.startswith(".")} == set(COMPOSE["volumes"])


def waited_for(name: str) -> set[str]:
    """The services that a service waits for, also through others: they are made before it."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*map(waited_for, direct))


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_one_service_fills_a_new_volume_before_others_mount_it(profile):
    mounting: dict[str, set[str]] = {}
    for name, service in of(profile).items():
        for volume in service.get("volumes", []):
            mounting.setdefault(volume.split(":")[0], set()).add(name)
    for volume, names in mounting.items():
        if volume in COMPOSE["volumes"]:
            assert any(all(first in waited_for(name) for name in names - {first}) for first in names), volume


def test_the_groomer_ends_in_the_middle_of_its_sleep():
    # Bash hears a signal when the program that it waits for has ended: that program gets the signal too.
    assert SERVICES["log-groomer"]["init"] is True
    assert SERVICES["log-groomer"]["environment"]["TINI_KILL_PROCESS_GROUP"] == "1"


@pytest.mark.parametrize("name", SERVICES)
def test_a_health_check_that_starts_airflow_has_a_processor(name):
    service = SERVICES[name]
    if re.search("airflow jobs|celery", str(service.get("healthcheck", {}).get("test"))):
        assert float(service["deploy"]["resources"]["limits"]["cpus"]) >= 1


def test_the_exporter_asks_for_nothing_that_its_role_may_not():
    assert SERVICES["postgres-exporter"]["command"] == ["--no-collector.wal"]


def test_local_executor_keeps_no_more_processes_than_a_dag_may_use():
    for name in ("scheduler", "scheduler-local"):
        # Source: max_active_tasks_per_dag in Airflow's configuration.
        assert SERVICES[name]["environment"]["AIRFLOW__CORE__PARALLELISM"] == "${AIRFLOW_PARALLELISM:-16}"
    assert "AIRFLOW__CORE__PARALLELISM" not in SERVICES["scheduler-celery"]["environment"]


def test_the_image_is_built_once_and_by_the_service_that_all_wait_for():
    image = SERVICES["keys"]["image"]
    named = {name: service for name, service in SERVICES.items() if service["image"] == image}
    assert [name for name, service in named.items() if "build" in service] == ["keys"]
    # Compose would ask a registry for what another service builds.
    assert {name for name, service in named.items() if service["pull_policy"] != "never"} == {"keys"}


@pytest.mark.parametrize("profile", DEPLOYMENTS)
def test_whose_tasks_report_to_the_api_server_is_stopped_before_it(profile):
    api_server = "api-server-local" if profile == "local" else "api-server"
    # Compose stops what waits for a service before that service.
    for name, service in of(profile).items():
        if re.match("scheduler|worker|triggerer", name):
            assert api_server in waited_for(name), name
            assert service["stop_grace_period"] == ("30s" if name.startswith("triggerer") else "6m"), name
    assert SERVICES[api_server]["stop_grace_period"] == "30s"


@pytest.mark.parametrize("file", ["Dockerfile", "include/docker/superset/Dockerfile"])
def test_a_build_asks_no_registry_for_what_the_engine_has(file):
    assert not re.search(r"^#\s*syntax\s*=", (REPOSITORY / file).read_text(), re.M)


@pytest.mark.parametrize("profile", ["gamma", "production", "celery", "monitoring", "superset", "postgrest"])
def test_outside_local_passwords_come_from_files_only(profile):
    for name, service in of(profile).items():
        for variable, value in service.get("environment", {}).items():
            # Not the ids of connections, nor paths of keys.
            if re.search(r"PASS|TOKEN|SECRET|_KEY|CONN|BROKER|BACKEND", variable) and not re.search(
                r"_CONN_IDS?$|_CONNECTIONS$|_CLIENT_KEY$", variable
            ):
                by_file = re.search(r"_(FILE|CMD)$", variable)
                assert by_file, f"{name}: {variable}"
                if value in {f"${{{variable}:-}}", f"${{{variable}:+/run/secrets/cht_pipeline_token}}"}:
                    continue  # a path that a person gives, or nothing
                assert re.fullmatch(r"(cat )?/(run/secrets|opt/cht/keys/[a-z]+|keys)/[a-z_.]+", value), (
                    f"{name}: {variable}"
                )


@pytest.mark.parametrize("profile", ["gamma", "production", "celery"])
def test_where_tasks_run_init_has_refused_what_everybody_knows(profile):
    with_passwords = {name: each for name, each in of(profile).items() if "couchdb_password" in each.get("secrets", [])}
    assert with_passwords.pop("init")["entrypoint"] == ["/opt/cht/include/docker/init.sh", "remote"]
    assert with_passwords
    runs_tasks = [name for name in of(profile) if re.match("scheduler|worker", name)]
    for name in runs_tasks:
        assert SERVICES[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
    script = (REPOSITORY / "include/docker/init.sh").read_text()
    assert script.index("refuse_defaults.py") < script.index("airflow db migrate")


def test_nobody_gets_into_postgrest_without_a_token():
    (service,) = of("postgrest").values()
    assert "PGRST_DB_ANON_ROLE" not in service["environment"]
    assert service["environment"]["PGRST_DB_SCHEMAS"] == "api"
    assert not {"PGRST_DB_URI", "PGRST_JWT_SECRET"} & set(service["environment"])
    assert service["secrets"] == ["postgrest_conf"]


def test_celery_has_workers_that_scale_and_the_others_do_not():
    assert {"redis", "worker", "scheduler-celery"} <= of("celery").keys()
    assert "scheduler" not in of("celery")
    assert "ports" not in SERVICES["worker"]
    assert "container_name" not in TEXT
    for name, executor in {"scheduler": "Local", "scheduler-local": "Local", "scheduler-celery": "Celery"}.items():
        assert SERVICES[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] == f"{executor}Executor"


def test_superset_is_that_of_the_tests_and_runs_as_no_root():
    text = DOCKERFILE_OF_SUPERSET
    pinned = re.search(r"^apache-superset==(\S+)", (REPOSITORY / "requirements-superset.txt").read_text(), re.M)[1]
    assert re.findall(r"^(?:ARG SUPERSET_IMAGE=|FROM )(\S+)", text, re.M) == [
        f"apache/superset:{pinned}",
        "${SUPERSET_IMAGE}",
    ]
    assert re.findall(r"^USER (\S+)", text, re.M)[-1] == "superset"
    assert {SERVICES[name]["image"] for name in of("superset")} == {f"cht-sync-superset:{pinned}"}
    assert SERVICES["superset"]["depends_on"]["superset-init"] == {"condition": "service_completed_successfully"}


def test_the_driver_of_superset_is_that_of_the_lock_with_its_hashes():
    lock = (REPOSITORY / "requirements-superset.txt").read_text()
    lines = re.search(r"^psycopg2-binary==.*?(?=^\S)", lock, re.M | re.S)[0]
    assert (REPOSITORY / "include/docker/superset/requirements.txt").read_text() == lines
    assert lines.count("--hash=sha256:") > 1
    (installed,) = re.findall(r"pip install (.*?)(?=\n\S)", DOCKERFILE_OF_SUPERSET, re.S)
    assert "--require-hashes" in installed
    assert "==" not in installed


def test_the_api_server_hears_of_https_from_a_proxy_and_marks_its_cookies():
    for name in ("api-server", "api-server-local"):
        service = SERVICES[name]
        assert service["command"] == ["api-server", "--proxy-headers"]
        # Nobody but a proxy on this machine, or in a private network, is believed.
        networks = service["environment"]["FORWARDED_ALLOW_IPS"].partition(":-")[2].rstrip("}").split(",")
        assert networks
        assert all(ip_network(each).is_private for each in networks)
    assert "SUPERSET_URL" in SERVICES["superset"]["environment"]


@pytest.mark.parametrize(
    ("url", "given", "marked"),
    [
        ("https://airflow.example.org", None, "True"),
        ("HTTPS://airflow.example.org/a", None, "True"),
        ("https://airflow.example.org", "False", "False"),
        ("http://127.0.0.1:8080", None, ""),
        ("", None, ""),
    ],
)
def test_the_session_of_fab_is_for_https_alone_where_the_address_says_so(tmp_path, url, given, marked):
    (tmp_path / "airflow").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "airflow").chmod(0o755)
    script = (REPOSITORY / "include/docker/api_server.sh").read_text()
    # The official image's entrypoint, which is not here.
    script = script.replace("exec /entrypoint", 'echo "${AIRFLOW__FAB__COOKIE_SECURE:-}"; echo')
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AIRFLOW__API__BASE_URL": url}
    environ |= {"AIRFLOW__FAB__COOKIE_SECURE": given} if given else {}
    done = subprocess.run(
        ["bash", "-c", script, "api_server.sh", "api-server", "--proxy-headers"],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [marked, "airflow api-server --proxy-headers"]


@pytest.mark.parametrize(
    ("url", "secure"), [("https://bi.example.org", True), ("http://127.0.0.1:8088", False), ("", False), (None, False)]
)
def test_the_cookie_of_superset_is_for_https_alone_where_the_address_says_so(tmp_path, monkeypatch, url, secure):
    (tmp_path / "superset_secret_key").write_text("k" * 42)
    monkeypatch.setenv("SUPERSET_SECRETS", str(tmp_path))
    monkeypatch.delenv("SUPERSET_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("SUPERSET_URL", url)
    config = run_path(str(REPOSITORY / "include/docker/superset/superset_config.py"))
    assert (config["SESSION_COOKIE_SECURE"], config["ENABLE_PROXY_FIX"]) == (secure, secure)
    assert config["SESSION_COOKIE_SAMESITE"] == "Lax"


def test_each_variable_is_in_the_template():
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", TEXT))
    assert asked - UNREAD.keys() <= TEMPLATE
    # And each setting of the project reaches the tasks, save those that mean another place in a container.
    given = set(SERVICES["scheduler"]["environment"])
    elsewhere = {"COMPOSE_PROJECT_NAME", "DATAEMON_INTERVAL", "CHT_PIPELINE_DIR", "CHT_DBT_ENV_"}
    project = {name for name in TEMPLATE if re.match("COUCHDB_|POSTGRES_|DBT_|CHT_|BATCH", name)} - elsewhere
    by_file = {"CHT_METRICS_TOKEN", "COUCHDB_PASSWORD", "POSTGRES_PASSWORD", "DBT_POSTGRES_PASSWORD"}
    by_file |= {"CHT_PIPELINE_TOKEN"}
    of_compose = {"CHT_IMAGE_TAG", "COUCHDB_LOCAL_PORT", "POSTGRES_LOCAL_PORT"}
    assert project - by_file - of_compose - given == set()


@pytest.mark.parametrize("name", [name for name in UNREAD if not name.endswith("_")])
def test_check_hears_of_a_variable_that_nothing_reads(name):
    for service in ("init", "init-local", "scheduler", "scheduler-local", "scheduler-celery", "worker"):
        # That it is set, and not its value, which may hold a password.
        assert SERVICES[service]["environment"].get(name) == f"${{{name}:+set}}", service
    assert [each.subject for each in check_unread(Settings({name: "set"}))] == [f"Variable {name}"]
    assert list(check_unread(Settings({name: ""}))) == []


def test_the_image_holds_the_locked_versions_and_no_root():
    text = (REPOSITORY / "Dockerfile").read_text()
    (image,) = re.findall(r"^ARG AIRFLOW_IMAGE=(\S+)", text, re.M)
    version = re.search(r"^apache-airflow==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.M)[1]
    assert image == f"apache/airflow:slim-{version}-python3.12"
    assert re.findall(r"^USER (\S+)", text, re.M)[-1] == "50000:0"
    assert "--require-hashes" in text
    assert text.count("\nFROM ") >= 3


def test_the_lock_of_the_image_is_that_of_the_tests():
    def pinned(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for package, version in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (REPOSITORY / name).read_text(), re.M):
            found.setdefault(package, set()).add(version)
        return found

    image, tests = pinned("requirements-image.txt"), pinned("requirements.txt")
    differing = {name for name in tests.keys() & image.keys() if not image[name] <= tests[name]}
    assert differing == set()
    assert {"celery", "redis", "apache-airflow-providers-cncf-kubernetes"} <= image.keys()


def test_nothing_secret_is_an_argument_of_a_build():
    builds = {name: service["build"] for name, service in SERVICES.items() if "args" in service.get("build", ())}
    assert builds == {
        "keys": {
            "context": ".",
            "args": {"CHT_PIPELINE_BRANCH_URL": "${CHT_PIPELINE_BRANCH_URL:-}"},
            "secrets": ["cht_pipeline_token"],
        }
    }
    text = (REPOSITORY / "Dockerfile").read_text()
    # The one argument that may hold what is secret is looked at before anything is built with it.
    assert set(re.findall(r"^ARG (\w+)", text, re.M)) == {"AIRFLOW_IMAGE", "CHT_PIPELINE_BRANCH_URL"}
    assert "id=cht_pipeline_token" in text
    assert "include/docker/build_project.py" in text
    assert not re.search(r"^(ENV|ARG) .*(PASS|TOKEN|SECRET)", text, re.M)


@pytest.mark.parametrize("profile", DEPLOYMENTS)
def test_the_token_of_the_project_is_where_it_is_fetched_and_nowhere_else(profile):
    fetching = {name for name in of(profile) if re.match("init|scheduler|worker", name)}
    for name, service in of(profile).items():
        has = "CHT_PIPELINE_TOKEN_FILE" in (service.get("environment") or {})
        assert has == (name in fetching) == ("cht_pipeline_token" in service.get("secrets", [])), name


def test_an_empty_file_stands_for_a_secret_that_nobody_gives():
    named = COMPOSE["secrets"]["cht_pipeline_token"]["file"].partition(":-")[2].rstrip("}")
    assert (REPOSITORY / named).read_bytes() == b""


def test_nothing_gets_into_the_image_by_mistake():
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(\S+)", (REPOSITORY / "Dockerfile").read_text(), re.M)
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)
    assert "/secrets/" in (REPOSITORY / ".gitignore").read_text().splitlines()
