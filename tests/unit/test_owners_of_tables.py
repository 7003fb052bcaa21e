"""One module writes each table, so that what a column may hold is decided in one place."""

from __future__ import annotations

import re

from cht_sync.settings.settings import REPOSITORY
from cht_sync.store.migrations import MIGRATIONS, TABLES

PACKAGE = REPOSITORY / "plugins" / "cht_sync"
DOCUMENTS = "{table}"
OWNERS = {
    "_dataemon": "pipeline/deployments",
    "couchdb_built_model": "built_models",
    "couchdb_collision": "collisions",
    "couchdb_copy_hold": "copy_hold",
    "couchdb_dbt_lock": "locks",
    "couchdb_deployment": "pipeline/deployment_table",
    "couchdb_first_load": "load_parts",
    "couchdb_incident": "alerts/incidents",
    "couchdb_listing": "reconcile/beside",
    "couchdb_lock": "locks",
    "couchdb_migration": "schema",
    "couchdb_model_result": "model_results",
    "couchdb_model_run": "model_runs",
    "couchdb_nul": "page_writer",
    "couchdb_older_revision": "older_revisions",
    "couchdb_postponed_index": "postponed_indexes",
    "couchdb_progress": "checkpoints",
    "couchdb_quarantine": "quarantine",
    "couchdb_quarantine_part": "quarantine",
    "couchdb_reconciliation": "reconcile/verdicts",
    "couchdb_source": "source_order",
    "couchdb_task_error": "task_errors",
    "couchdb_test_acknowledgement": "acknowledged",
    "couchdb_test_result": "data_tests",
    "couchdb_window": "windows",
}
# Rows are written with what decides about them: pages, who owns an _id, stubs, and a try that is undone.
OF_DOCUMENTS = {"page_writer", "collisions", "tombstones", "swallowed"}
# Gives a source another name in every table that has a column of it, as the catalogue says.
OF_ALL = {"renaming_store": "{relation}", "locks": "{table}"}
WRITE = re.compile(
    r"\b(?:insert\s+into|update|delete\s+from|truncate(?:\s+table)?|copy|merge\s+into)\s+(?:only\s+)?"
    r"(?:\{schema\}\.)?\"?(\{[a-z]+\}|couchdb_\w+|_dataemon)"
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
    assert {table for table, module in OWNERS.items() if module != "locks" and (table, module) not in found} == set()


def test_each_table_of_the_migrations_is_known_and_has_an_owner():
    made = re.compile(r"create (?:unlogged )?table (?:if not exists )?\{schema\}\.(\w+)")
    tables = {name for file in MIGRATIONS.glob("*.sql") for name in made.findall(file.read_text("utf-8"))}
    assert tables | {"couchdb_migration"} == TABLES
    assert OWNERS.keys() == TABLES
