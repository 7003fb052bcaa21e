"""A stand-in for the dbt package hub, for machines that cannot reach it."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Any

import requests

from cht_sync.common.http_session import HttpSession

HUB_URL = "https://hub.getdbt.com/"
PROBE_TIMEOUT_S = 4
# A packages.yml may ask for any version or range; the stand-in has every one that is likely.
VERSIONS = [f"{major}.{minor}.{patch}" for major, minor, patch in product(range(5), range(30), range(11))]


def hub_url() -> str:
    """The address of the hub that dbt uses on this machine."""
    return os.environ.get("DBT_PACKAGE_HUB_URL") or HUB_URL


def hub_answers(url: str = HUB_URL, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether the dbt package hub can be reached."""
    try:
        # The first thing that dbt asks for; a proxy that refuses it counts as no hub.
        with HttpSession() as session, session.get(f"{url}api/v1/index.json", timeout=timeout_s, stream=True) as answer:
            return answer.ok
    except requests.RequestException:
        return False


class StandInHub:
    """Answers ``dbt deps`` on 127.0.0.1 with empty packages, named ``owner/name``; used as a context manager.

    dbt itself finds the packages of packages.
    Source: the addresses that ``dbt/clients/registry.py`` and ``dbt/deps/registry.py`` of dbt-core 1.11 ask for.
    """

    def __init__(self, names: set[str]) -> None:
        self.names = set(names)
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = hub.answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                """Says nothing: the caller tells which packages were replaced."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """What ``DBT_PACKAGE_HUB_URL`` must be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> StandInHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> bytes | None:
        """The body for one address: JSON, a tarball, or None for what the hub does not have."""
        if path == "/api/v1/index.json":
            return json.dumps(sorted(self.names)).encode()
        name = path.rsplit("/", 1)[-1].removesuffix(".json").removesuffix(".tar.gz")
        if path.startswith("/tar/"):
            return _empty_package(name)
        return self._versions(name) if path.startswith("/api/v1/") else None

    def _versions(self, name: str) -> bytes:
        entry = {"name": name, "packages": [], "downloads": {"tarball": f"{self.url}tar/{name}.tar.gz"}}
        versions = {version: {**entry, "version": version} for version in VERSIONS}
        return json.dumps({"name": name, "versions": versions}).encode()


def _empty_package(name: str) -> bytes:
    content = f"name: '{name}'\nversion: '0.0.0'\nconfig-version: 2\n".encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        # dbt takes what all names have in common for the top folder, so that it must be listed too.
        top = tarfile.TarInfo(name)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        info = tarfile.TarInfo(f"{name}/dbt_project.yml")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
