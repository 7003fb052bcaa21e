"""Migrations, roles and the schema of the API on each version of PostgreSQL: the tests of each, on its server."""
# ruff: noqa: F401, F811

import pytest

from tests.integration.security.test_api_roles import (
    api,
    installed,
    test_each_role_may_do_what_it_needs_and_nothing_else,
    test_rights_that_reach_further_are_refused,
    test_row_security_of_a_model_counts_for_requests,
    test_views_follow_the_models_and_postgrest_is_told_only_of_changes,
)
from tests.integration.security.test_roles import (
    roles,
    test_a_role_that_may_do_too_much_is_refused_and_nothing_changes,
    test_model_runs_deployments_and_the_lock_work_with_these_roles,
    test_public_gets_nothing,
    test_the_models_alone_read_what_lies_beside_the_table,
)
from tests.integration.store.test_migrations import (
    test_a_database_of_cht_sync_2,
    test_a_second_table_in_a_schema_has_indexes_too,
    test_an_empty_database,
    test_collisions_of_before_get_their_key,
)
from tests.releases import postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.embedded("postgres", "it starts each version")]


def test_it_is_the_version(postgres_server, database, request):
    """The programs are those that the name of the test says."""
    wanted = request.node.callspec.params["postgres_server"]
    assert database.value("show server_version").split(".")[0] == wanted
