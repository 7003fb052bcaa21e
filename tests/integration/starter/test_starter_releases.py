"""The starter models on each version of PostgreSQL."""
# ruff: noqa: F401, F811

from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from starter_documents import settings as settings_of
from starter_warehouse import DATABASE, DBT, Warehouse, make_project, set_environment
from test_starter_truth_tables import VALUES, differences, documents, put, save
from test_starter_values import test_columns_and_types, test_values_of_each_model
from truth_tables import SETTINGS_TYPES, paths_of

from tests.releases import postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.embedded("postgres", "it starts each version")]


@pytest.fixture(scope="module")
def shared_warehouse(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse on the server of a version."""
    postgres_server.create_database(DATABASE)
    with pytest.MonkeyPatch.context() as patch:
        environment = set_environment(patch, postgres_server)
        project = make_project(tmp_path_factory.mktemp("dbt") / "project", DBT / "starter")
        with closing(Warehouse(postgres_server.dsn(DATABASE), project, environment)) as warehouse:
            yield warehouse


@pytest.fixture
def warehouse(shared_warehouse: Warehouse) -> Warehouse:
    """An empty one."""
    shared_warehouse.create()
    return shared_warehouse


def test_odd_values(warehouse: Warehouse) -> None:
    """Each odd value in one place of each kind of document, and each place with one odd value."""
    dice, made = Random(1), []
    for kind, document in documents().items():
        places = list(paths_of(kind))
        made += [put(document, dice.choice(places), value) for value in VALUES]
        made += [put(document, path, dice.choice(VALUES)) for path in places]
    warehouse.save(settings_of(*SETTINGS_TYPES))
    named = save(warehouse, made)
    warehouse.run()
    assert differences(warehouse, named)[:5] == []
    warehouse.run("--full-refresh")
    assert differences(warehouse, named)[:5] == []
