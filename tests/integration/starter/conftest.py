"""A warehouse per test, on the server that all tests share."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from starter_warehouse import DATABASE, DBT, Warehouse, make_project, set_environment


@pytest.fixture(scope="session")
def dbt_server(postgres_server: Any) -> Any:
    """The server with the database of these tests."""
    postgres_server.create_database(DATABASE)
    return postgres_server


@pytest.fixture(scope="session")
def shared_warehouse(dbt_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse of the usual names, its project parsed once for all tests."""
    # The environment goes back before the first test: what stays set here would reach every test after these.
    with pytest.MonkeyPatch.context() as patch:
        environment = set_environment(patch, dbt_server)
        project = make_project(tmp_path_factory.mktemp("dbt") / "project", DBT / "starter")
        warehouse = Warehouse(dbt_server.dsn(DATABASE), project, environment)
    with closing(warehouse):
        yield warehouse


@pytest.fixture
def warehouse(shared_warehouse: Warehouse, dbt_server: Any, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty warehouse of the usual names."""
    set_environment(monkeypatch, dbt_server)
    shared_warehouse.create()
    return shared_warehouse
