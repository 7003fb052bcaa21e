"""The project as dbt sees it: names, hooks, tests, and packages built on it."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starter_documents import CONTACTS, MODELS, person, report, telemetry
from starter_warehouse import DATABASE, DBT, Warehouse, failures, make_project, set_environment

from tests.dbt_in_process import dbtRunner

pytestmark = pytest.mark.integration


def test_the_starter_parses_as_a_root_project(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any variable of the contract, and with documentation for every column."""
    for name in ("HOST", "PORT", "USER", "PASSWORD", "DB"):
        monkeypatch.delenv(f"POSTGRES_{name}")
    monkeypatch.setenv("POSTGRES_SCHEMA", "")
    monkeypatch.setenv("POSTGRES_TABLE", "")
    target = tmp_path / "target"
    command = ["--quiet", "--log-level-file", "none", "parse", "--target-path", str(target), "--no-partial-parse"]
    result = dbtRunner().invoke(
        [*command, "--project-dir", str(DBT / "starter"), "--profiles-dir", str(DBT), "--log-path", str(target)]
    )
    assert result.success, result.exception
    manifest = json.loads((target / "manifest.json").read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    (source,) = manifest["sources"].values()
    assert source["relation_name"] == '"cht_sync"."v1"."couchdb"'
    assert {node["name"] for node in nodes} == {*MODELS, "dbt_results"}
    for node in nodes:
        assert node["description"]
        assert node["config"]["contract"]["enforced"]
        assert set(node["tags"]) in ({"base"}, {"user"})
        assert all(column["description"] and column["data_type"] for column in node["columns"].values())
    assert set(manifest["selectors"]) == {"base_models", "users"}


def test_a_first_run_of_one_model(warehouse: Warehouse) -> None:
    """On an empty database the hooks find what they need, and only the models of the run are recorded."""
    warehouse.save(person("a"))
    result = warehouse.dbt("run", "--select", "document_metadata", variables={"batch_size": "10"})
    assert result.success, failures(result)
    assert warehouse.rows("select name, status, rows_affected, end_time >= start_time from dbt_results") == [
        ("document_metadata", "success", 1, True)
    ]
    # The table from the hook is the one the model would have made.
    columns = "select column_name, data_type from information_schema.columns where table_name = 'dbt_results'"
    by_hook = warehouse.rows(columns)
    warehouse.run("--select", "dbt_results")
    warehouse.execute("drop table dbt_results")
    warehouse.run("--select", "dbt_results")
    assert warehouse.rows(columns) == by_hook
    assert warehouse.column("select name from dbt_results") == {"dbt_results"}


def test_results_are_kept_for_two_weeks(warehouse: Warehouse) -> None:
    """Older ones go; a model that failed or was skipped is recorded too."""
    warehouse.save(person("a"))
    warehouse.run("--select", "document_metadata", "contact", "contact_type")
    warehouse.execute("update dbt_results set start_time = start_time - interval '13 days' where name = 'contact'")
    warehouse.execute("update dbt_results set start_time = start_time - interval '15 days' where name = 'contact_type'")
    warehouse.execute("alter table contact add constraint broken check (name is null) not valid")
    warehouse.save(person("b"))
    assert not warehouse.dbt("run", "--select", "document_metadata", "contact", "contact_type").success
    assert sorted(warehouse.rows("select name, status from dbt_results")) == [
        ("contact", "error"),
        ("contact", "success"),
        ("contact_type", "skipped"),
        ("document_metadata", "success"),
        ("document_metadata", "success"),
    ]
    assert warehouse.value("select count(*) from dbt_results where start_time is null or end_time is null") == 0


def test_selectors_and_dbt_tests(warehouse: Warehouse) -> None:
    """The two groups together are all models; the project's own unit and data tests pass."""
    warehouse.save(person("a", reported_date="x"), report("r"), telemetry("t"))
    base = warehouse.run("--selector", "base_models")
    assert {*CONTACTS, "data_record", "document_rejects", "dbt_results"} <= set(base)
    assert "telemetry" not in base
    users = warehouse.run("--selector", "users")
    assert {"user", "feedback", "telemetry", "telemetry_devices"} <= set(users)
    result = warehouse.dbt("test")
    assert result.success, failures(result)
    kinds = {r.node.resource_type for r in result.result.results}
    assert {"test", "unit_test"} <= {str(kind) for kind in kinds}


def test_names_that_need_quotes_and_two_schemas(
    dbt_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw data and models may be in two schemas, named in any way."""
    environment = set_environment(
        monkeypatch,
        dbt_server,
        POSTGRES_SCHEMA="Raw-Data",
        POSTGRES_TABLE="Couch-DB",
        DBT_POSTGRES_SCHEMA="Mo dels",
    )
    project = make_project(tmp_path / "project", DBT / "starter")
    with closing(Warehouse(dbt_server.dsn(DATABASE), project, environment)) as warehouse:
        warehouse.create()
        select = ("--select", "+patient", "data_record")
        warehouse.save(person("a", patient_id="1"), report("r"))
        warehouse.run(*select)
        warehouse.delete("a")
        warehouse.save(report("r", form="new"))
        warehouse.run(*select)
        assert warehouse.ids("contact") == warehouse.ids("patient") == set()
        assert warehouse.rows("select uuid, form from data_record") == [("r", "new")]
        schemas = warehouse.column(
            "select relnamespace::regnamespace::text from pg_class where relname = 'data_record'"
        )
        assert schemas == {'"Mo dels"'}


def example(name: str) -> str:
    """A block of code in the starter's README, by the file name in the line above it."""
    text = (DBT / "starter" / "README.md").read_text()
    block = text.split(f"`{name}`", 1)[1].split("```", 2)[1]
    return block.split("\n", 1)[1]


def lmp(day: str) -> dict[str, Any]:
    """The fields of the form that the README has a model for."""
    return {"gestational_age": {"lmp_date": day}}


def test_a_package_of_a_team_on_top(warehouse: Warehouse, tmp_path: Path, dbt_server: Any) -> None:
    """The form model of the README works, with edits, deletes, changes of type and foreign keys."""
    package = tmp_path / "team"
    for name in (
        "dbt_project.yml", "packages.yml", "macros/upsert.sql", "models/pregnancy.sql", "models/pregnancy.yml"
    ):  # fmt: skip
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(example(name).replace("include/dbt/starter", str(DBT / "starter")))
    project = make_project(tmp_path / "project", package)
    with closing(Warehouse(dbt_server.dsn(DATABASE), project, {})) as team:
        team.create()
        team.save(*(report(uuid, fields=lmp("2024-01-01")) for uuid in ("kept", "deleted", "other-form", "retyped")))
        select = ("--select", "document_metadata", "data_record", "pregnancy")
        team.run(*select)
        assert team.ids("pregnancy") == {"kept", "deleted", "other-form", "retyped"}
        team.save(report("kept", fields=lmp("2024-02-02")), report("other-form", form="visit"), person("retyped"))
        team.delete("deleted")
        team.run(*select)
        assert team.rows("select uuid, lmp_date from pregnancy") == [("kept", "2024-02-02")]
        # A full refresh of the package keeps the keys of the tables on top of it.
        team.run("--full-refresh", *select)
        assert team.rows("select uuid, lmp_date from pregnancy") == [("kept", "2024-02-02")]
        assert (
            team.value(
                "select confrelid::regclass::text from pg_constraint where contype = 'f' "
                "and conrelid = 'pregnancy'::regclass"
            )
            == "data_record"
        )
