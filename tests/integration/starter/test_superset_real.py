"""The dashboard in the real Superset: `make dashboards-test` installs it and says where it is."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from starter_warehouse import DATABASE, Warehouse
from superset_warehouse import PASSWORD, ROLE, generated

from cht_sync.dashboards.bundle import assets
from cht_sync.dashboards.command import import_dashboards
from cht_sync.dashboards.settings import SupersetSettings
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import REPOSITORY

PROGRAM = os.environ.get("DASHBOARDS_SUPERSET", "")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PROGRAM, reason="needs the real Superset: make dashboards-test"),
]
DOCKER = REPOSITORY / "include" / "docker" / "superset"
ASSETS = assets()
KINDS = ("database", "dataset", "chart", "dashboard")


def environment(folder: Path) -> dict[str, str]:
    """What the containers of the profile superset get, in a folder of this machine."""
    return {
        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "SUPERSET_HOME": str(folder / "home"),
        "SUPERSET_SECRETS": str(folder),
        "SUPERSET_CONFIG_PATH": str(DOCKER / "superset_config.py"),
        "SUPERSET_USER": "admin",
        "FLASK_APP": "superset.app:create_app()",
    }


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A Superset that init.sh has made ready; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PROGRAM, "run", "--host", "127.0.0.1", "--port", str(port), "--with-threads"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment(folder), cwd=folder, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 300
            while not answers(url):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                assert time.monotonic() < until
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


class Api:
    """What a user of Superset sees through its REST API."""

    def __init__(self, url: str, password: str) -> None:
        self.url, self.session = url, requests.Session()
        login = {"username": "admin", "password": password, "provider": "db"}
        token = self.session.post(f"{url}/api/v1/security/login", json=login, timeout=60).json()["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> dict[str, Any]:
        answer = self.session.get(f"{self.url}/api/v1/{path}", timeout=120)
        assert answer.ok, f"{path}: {answer.text[:1000]}"
        return answer.json()

    def objects(self) -> dict[str, dict[str, int]]:
        """Ids of everything there is, by kind and uuid."""
        found = {kind: self.get(f"{kind}/?q=(page_size:100)")["result"] for kind in KINDS}
        return {kind: {str(self.uuid(kind, each)): each["id"] for each in list_} for kind, list_ in found.items()}

    def uuid(self, kind: str, listed: dict[str, Any]) -> str:
        return listed.get("uuid") or self.get(f"{kind}/{listed['id']}")["result"]["uuid"]


@pytest.fixture(scope="module")
def imported(
    shared_warehouse: Warehouse, dbt_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Api, SupersetSettings]]:
    """A Superset, with the dashboard imported once, on the models of a generated deployment."""
    folder = tmp_path_factory.mktemp("superset")
    password = secrets.token_urlsafe(12)
    (folder / "superset_secret_key").write_text(secrets.token_urlsafe(42))
    (folder / "superset_password").write_text(f"{password}\n")
    script = ["bash", str(DOCKER / "init.sh")]
    for _ in range(2):  # as when the containers are started again
        done = subprocess.run(script, env=environment(folder), cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    with generated(shared_warehouse, dbt_server), running(folder) as url:
        settings = SupersetSettings(
            {
                "SUPERSET_URL": url,
                "SUPERSET_PASSWORD": password,
                "SUPERSET_DB_USER": ROLE,
                "SUPERSET_DB_PASSWORD": PASSWORD,
                "POSTGRES_HOST": dbt_server.host,
                "POSTGRES_PORT": str(dbt_server.port),
                "POSTGRES_DB": DATABASE,
            }
        )
        import_dashboards(settings)
        yield Api(url, password), settings


def test_each_asset_is_there_and_a_second_import_changes_no_list(imported: tuple[Api, SupersetSettings]) -> None:
    api, settings = imported
    first = api.objects()
    wanted = {kind: {each["uuid"] for name, each in ASSETS.items() if name.startswith(f"{kind}s/")} for kind in KINDS}
    assert {kind: set(found) for kind, found in first.items()} == wanted
    import_dashboards(settings)
    assert api.objects() == first


def test_every_chart_returns_rows(imported: tuple[Api, SupersetSettings]) -> None:
    api, _ = imported
    charts = api.objects()["chart"]
    rows = {}
    for name in (name for name in ASSETS if name.startswith("charts/")):
        (result,) = api.get(f"chart/{charts[ASSETS[name]['uuid']]}/data/")["result"]
        assert result["error"] is None, name
        rows[name] = len([row for row in result["data"] if any(value is not None for value in row.values())])
    assert [name for name, found in rows.items() if not found] == []
    # All charts of the dashboard are those that were asked.
    assert len(api.get("dashboard/cht-programme/charts")["result"]) == len(rows)


def test_the_password_is_not_shown(imported: tuple[Api, SupersetSettings]) -> None:
    api, _ = imported
    ((_, database),) = api.objects()["database"].items()
    assert PASSWORD not in str(api.get(f"database/{database}/connection"))


def test_a_wrong_password_of_superset_is_told(imported: tuple[Api, SupersetSettings]) -> None:
    _, settings = imported
    wrong = SupersetSettings({**settings._environ, "SUPERSET_PASSWORD": "wrong"})
    with pytest.raises(SettingsError, match="does not know user 'admin'"):
        import_dashboards(wrong)
