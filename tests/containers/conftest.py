"""Tests that start containers: `make containers-test`. They take up to half an hour, and so are no part of `make test`.

`CONTAINERS=1` fetches an engine and makes stand-ins for the official images; it takes root and apt-get. `CONTAINERS=docker`
uses the engine that `docker` leads to, and the images that it has or pulls. `CONTAINERS_FOLDER` names a folder in which
the fetched engine and its images are kept for the next time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cht_sync.settings.settings import REPOSITORY
from include.demo.npm import installed_modules
from tests.containers.engine import Engine, why_not
from tests.containers.project import Project

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
IMAGE_TAG = "containers-test"
# By the names of images without what is before the last slash: what stands for them.
TARGETS = ("airflow", "postgres", "couchdb", "redis", "adminer")
BASE = (
    "python3", "python3-venv", "curl", "ca-certificates", "procps", "tini", "nodejs",
    "postgresql-17", "redis-server", "php-cli",
)  # fmt: skip
NETWORK_OF_A_BUILD = "services:\n  keys: {build: {network: host}}\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips them, with one sentence, where nobody has asked for them or no engine can be had."""
    asked = os.environ.get("CONTAINERS", "").strip()
    reason = "containers are started by `make containers-test`" if not asked else ""
    if asked and asked != "docker":
        reason = why_not()
    for item in items:
        if HERE in item.path.parents and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def engine() -> Iterator[Mapping[str, str]]:
    """What leads to an engine that has the images, or can pull them."""
    if os.environ["CONTAINERS"].strip() == "docker":
        yield {name: os.environ[name] for name in os.environ if re.match("DOCKER_|XDG_|PATH$|HOME$", name)}
        return
    kept = os.environ.get("CONTAINERS_FOLDER", "").strip()
    folder = Path(kept or tempfile.mkdtemp(prefix="cht-containers-", dir="/var/tmp")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    own = Engine(folder)
    try:
        own.start()
        _stand_ins(own)
        yield own.environ
    finally:
        own.stop()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def network_of_a_build(engine, tmp_path_factory) -> tuple[Path, ...]:
    """A Compose file without which a build of the fetched engine would reach no registry of packages."""
    if os.environ["CONTAINERS"].strip() == "docker":
        return ()
    file = tmp_path_factory.mktemp("network") / "build.yml"
    file.write_text(NETWORK_OF_A_BUILD)
    return (file,)


@pytest.fixture(scope="session")
def image(engine, network_of_a_build) -> None:
    """The project's own image, from the files as they are."""
    Project(engine, "cht-containers-image", "local", {"CHT_IMAGE_TAG": IMAGE_TAG}, *network_of_a_build).compose(
        "build", timeout=1500
    )


def _stand_ins(engine: Engine) -> None:
    """Makes one image for each that the Compose file and the Dockerfile name, under the same name."""

    def docker(*arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments], env=engine.environ, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    if not docker("images", "--quiet", "stand-in-base").strip():
        docker("import", str(engine.base(*BASE)), "stand-in-base")
    with tempfile.TemporaryDirectory(dir=engine.folder) as name:
        context = Path(name) / "context"
        shutil.copytree(STAND_INS, context)
        shutil.copytree(installed_modules(), context / "node_modules", symlinks=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        for image in _images():
            target = image.partition(":")[0].rpartition("/")[2]
            if target in TARGETS:
                docker("build", "--quiet", "--network=host", f"--target={target}", f"--tag={image}", str(context))


def _images() -> list[str]:
    compose = re.findall(r"^ *image: ([a-z][\w./-]*:[\w.-]+)$", (REPOSITORY / "docker-compose.yml").read_text(), re.M)
    return sorted({*compose, *re.findall(r"^ARG AIRFLOW_IMAGE=(\S+)", (REPOSITORY / "Dockerfile").read_text(), re.M)})
