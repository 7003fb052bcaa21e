"""One module writes each table, so that what a column may hold is decided in one place."""

from __future__ import annotations

import re

from cht_sync.settings.settings import REPOSITORY
from cht_sync.store.migrations import MIGRATIONS, TABLES

PACKAGE = REPOSITORY / "plugins" / "cht_sync"
DOCUMENTS = "{table}"
OWNERS = {
    "_dataemon": "dbt/tables/deployments",
    "couchdb_built_model": "dbt/tables/built_models",
    "couchdb_collision": "store/collisions",
    "couchdb_copy_hold": "store/copy_hold",
    "couchdb_dbt_lock": "postgres/locks",
    "couchdb_deployment": "dbt/tables/deployment_table",
    "couchdb_first_load": "store/first_load_plan",
    "couchdb_form_progress": "forms/catalogue",
    "couchdb_incident": "monitoring/alerts/incidents",
    "couchdb_listing": "reconcile/postgres_side",
    "couchdb_lock": "postgres/locks",
    "couchdb_migration": "store/migrations",
    "couchdb_model_result": "dbt/tables/model_results",
    "couchdb_model_run": "dbt/tables/model_runs",
    "couchdb_nul": "store/page_writer",
    "couchdb_older_revision": "store/older_revisions",
    "couchdb_postponed_index": "store/deferred_indexes",
    "couchdb_progress": "store/checkpoints",
    "couchdb_quarantine": "store/quarantine",
    "couchdb_quarantine_part": "store/quarantine",
    "couchdb_reconciliation": "reconcile/results",
    "couchdb_source": "store/source_order",
    "couchdb_task_error": "store/task_errors",
    "couchdb_test_acknowledgement": "dbt/tables/acknowledgements",
    "couchdb_test_result": "dbt/tables/test_results",
    "couchdb_window": "store/run_ledger",
    "form": "forms/catalogue",
    "form_definition": "forms/definition_table",
    "form_field": "forms/catalogue",
    "form_notice": "forms/notice_table",
}
# Rows are written with what decides about them: pages, who owns an _id, stubs, and a try that is undone.
OF_DOCUMENTS = {"store/page_writer", "store/collisions", "store/tombstones", "store/silent_triggers"}
# Gives a source another name in every table that has a column of it, as the catalogue says.
OF_ALL = {"store/renaming": "{relation}", "postgres/locks": "{table}"}
WRITE = re.compile(
    r"\b(?:insert\s+into|update|delete\s+from|truncate(?:\s+table)?|copy|merge\s+into)\s+(?:only\s+)?"
    r"(?:\{{1,2}schema\}{1,2}\.)?\"?(\{[a-z]+\}|couchdb_\w+|_dataemon|form\b|form_\w+)"
)


def written():
    """Module and table of each statement that writes."""
    for file in sorted(PACKAGE.rglob("*.py")):
        module = file.relative_to(PACKAGE).with_suffix("").as_posix()
        for table in WRITE.findall(file.read_text("utf-8")):
            yield module, table


def test_each_table_is_written_by_its_owner_alone():
    strangers = {
        (module, table)
        for module, table in written()
        if OWNERS.get(table) != module
        and not (table == DOCUMENTS and module in OF_DOCUMENTS)
        and OF_ALL.get(module) != table
    }
    assert strangers == set()


def test_each_owner_is_one():
    found = {(table, module) for module, table in written()}
    assert {
        table for table, module in OWNERS.items() if module != "postgres/locks" and (table, module) not in found
    } == set()


def test_each_table_of_the_migrations_is_known_and_has_an_owner():
    made = re.compile(r"create (?:unlogged )?table (?:if not exists )?\{schema\}\.(\w+)")
    tables = {name for file in MIGRATIONS.glob("*.sql") for name in made.findall(file.read_text("utf-8"))}
    assert tables | {"couchdb_migration"} == TABLES
    assert OWNERS.keys() == TABLES
