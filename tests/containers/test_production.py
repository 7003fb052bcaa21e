"""The profile `production`: refused with what everybody knows, and started with what is right."""

from __future__ import annotations

import pytest

from tests.containers.elsewhere import FAB, project, servers

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.usefixtures("image")]

PASSWORD = "canary-of-production-5c21"
NEVER_STARTED = {"scheduler", "triggerer"}


def test_what_everybody_knows_starts_nothing(engine, tmp_path):
    production = project(engine, "production", tmp_path, "medic")
    try:
        production.remove()
        said = production.compose("up", "--detach", "--no-build", check=False)
        assert "init" in said
        states = production.states()
        assert states["init"]["ExitCode"] == 1
        assert {name for name in NEVER_STARTED if states[name]["StartedAt"] < "0002"} == NEVER_STARTED
        log = production.logs("init")
        for sentence in (
            "The password of reader@cht.example.org (connection 'cht_couchdb') is empty or a published default",
            "The password of copies@db.example.org (connection 'cht_postgres') is empty or a published default",
            "AIRFLOW_AUTH_MANAGER is Airflow's SimpleAuthManager, which is made for development",
        ):
            assert sentence in log
    finally:
        production.remove()


def test_what_is_right_starts_and_no_service_knows_more_than_it_needs(engine, tmp_path):
    file, _ = servers(tmp_path, "production", PASSWORD)
    production = project(engine, "production", tmp_path, PASSWORD, file, AIRFLOW_AUTH_MANAGER=FAB)
    try:
        production.remove()
        production.compose("up", "--detach", "--no-build", "elsewhere-postgres", "elsewhere-couchdb")
        production.compose("up", "--detach", "--no-build", timeout=1200)
        production.wait_until_healthy()
        told = production.environments()
        assert {name for name, each in told.items() if PASSWORD in each and not name.startswith("elsewhere")} == set()
        knows = {
            name: set(production.exec(name, "sh", "-c", "ls /run/secrets 2>/dev/null; true").split())
            for name in ("api-server", "dag-processor", "triggerer", "scheduler", "log-groomer", "airflow-db")
        }
        destination = {"postgres_password", "dbt_postgres_password"}
        assert knows == {
            "api-server": destination,
            "dag-processor": destination,
            "triggerer": destination | {"couchdb_password"},
            "scheduler": destination | {"couchdb_password", "cht_pipeline_token"},
            "log-groomer": set(),
            "airflow-db": set(),
        }
        # As docs/how-to-docker.md says, but for the password, which it asks for.
        made = production.exec(
            "api-server", "airflow", "users", "create", "--username=ann", "--role=Admin", "--firstname=Ann",
            "--lastname=Example", "--email=ann@example.org", f"--password={PASSWORD}",
        )  # fmt: skip
        assert "ann" in made
        said = production.exec("scheduler", "python", "-m", "cht_sync", "check", check=False)
        assert "signed in as reader" in said
        assert "role 'copies' has what it needs" in said
        assert PASSWORD not in said
    finally:
        production.remove()
