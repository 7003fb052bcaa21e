"""What the dashboard asks of PostgreSQL, asked of the models by the role of the dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starter_documents import REPORTED, contact, person, place, report, settings
from starter_warehouse import Warehouse
from superset_warehouse import as_dashboard, generated

from cht_sync.dashboards.bundle import assets

pytestmark = pytest.mark.integration

ASSETS = assets()
DATASETS = {content["table_name"]: content for name, content in ASSETS.items() if name.startswith("datasets/")}
BY_UUID = {content["uuid"]: content for content in DATASETS.values()}
CHARTS = [name for name in ASSETS if name.startswith("charts/")]
# As psycopg2 names them. Source: https://www.postgresql.org/docs/current/catalog-pg-type.html
TYPES = {
    "TEXT": {25, 1043},
    "TIMESTAMP WITHOUT TIME ZONE": {1114},
    "BIGINT": {20, 23},
    "BOOLEAN": {16},
    "DOUBLE PRECISION": {701, 1700},
}
DAY = 86_400_000


@pytest.fixture(scope="module")
def cursor(shared_warehouse: Warehouse, dbt_server: Any) -> Iterator[Any]:
    """A cursor of the role of the dashboards on the models of a generated deployment."""
    with generated(shared_warehouse, dbt_server) as warehouse, as_dashboard(warehouse, dbt_server) as found:
        yield found


def source(dataset: dict[str, Any]) -> str:
    """What Superset puts after `from`."""
    return f"({dataset['sql']}) as virtual_table" if dataset["sql"] else dataset["table_name"]


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_has_the_columns_it_names(cursor: Any, name: str) -> None:
    """Names, types and order of those that its SQL selects; a metric can be computed."""
    dataset = DATASETS[name]
    wanted = {column["column_name"]: TYPES[column["type"]] for column in dataset["columns"]}
    cursor.execute(f"select * from {source(dataset)} limit 0")
    found = {column.name: column.type_code for column in cursor.description}
    assert wanted.keys() <= found.keys()
    if dataset["sql"]:
        assert list(wanted) == list(found)
    assert {column: found[column] for column in wanted if found[column] not in wanted[column]} == {}
    for metric in dataset["metrics"]:
        cursor.execute(f"select {metric['expression']} from {source(dataset)}")
        assert cursor.fetchone()[0] is not None, metric["metric_name"]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_gets_rows(cursor: Any, name: str) -> None:
    """What it groups by and measures, from the models of a generated deployment."""
    chart = ASSETS[name]
    params, dataset = chart["params"], BY_UUID[chart["dataset_uuid"]]
    expressions = {metric["metric_name"]: metric["expression"] for metric in dataset["metrics"]}
    measured = [
        expressions[each] for each in (*params.get("metrics", []), *([params["metric"]] if "metric" in params else []))
    ]
    groups = [*params.get("groupby", []), *params.get("all_columns", [])]
    if "x_axis" in params:
        unit = {"P1W": "week", "P1M": "month"}[params["time_grain_sqla"]]
        groups.append(f"date_trunc('{unit}', {params['x_axis']})")
    by = f" group by {', '.join(groups)}" if groups else ""
    cursor.execute(f"select {', '.join([*groups, *measured])} from {source(dataset)}{by}")
    rows = cursor.fetchall()
    assert rows
    assert all(any(value is not None for value in row) for row in rows)
    if unit_rows := {"active_health_workers_by_week": 50, "coverage_by_area": 3}.get(
        name.split("/")[1].split(".", maxsplit=1)[0]
    ):
        assert len(rows) >= unit_rows


def test_the_period_that_the_dashboard_opens_with_is_one_of_the_values(cursor: Any) -> None:
    (dashboard,) = (content for name, content in ASSETS.items() if name.startswith("dashboards/"))
    (chosen,) = dashboard["metadata"]["native_filter_configuration"][0]["defaultDataMask"]["filterState"]["value"]
    for name in ("cht_reports", "cht_registrations"):
        cursor.execute(f"select distinct period from {source(DATASETS[name])}")
        assert chosen in {row[0] for row in cursor.fetchall()}


def test_who_is_reached(warehouse: Warehouse) -> None:
    """Workers by their own last report, households by reports about them or a member; what is dated ahead counts not."""
    far_ahead = 32_503_680_000_000
    above = {"parent": {"_id": "area"}}
    warehouse.save(
        settings({"id": "ward"}, {"id": "home"}, {"id": "worker", "person": True}),
        contact("district", "ward", name="District"),
        contact("area", "ward", name="Area", parent={"_id": "district"}),
        *(contact(each, "home", **above) for each in ("by-member", "by-uuid", "by-place", "long-ago", "never")),
        contact("active", "worker", **above),
        contact("silent", "worker", **above),
        contact("no-worker", "worker", **above),
        person("member", parent={"_id": "by-member"}, patient_id="77"),
        place("outside", parent={"_id": "nowhere"}),
        {"_id": "org.couchdb.user:s", "type": "user-settings", "contact_id": "silent"},
        report("r1", contact={"_id": "active", **above}, patient_id="77"),
        report("r2", contact={"_id": "active"}, fields={"patient_uuid": "by-uuid"}),
        report("r3", contact={"_id": "active"}, fields={"place_id": "by-place"}),
        report("r4", reported_date=REPORTED - 91 * DAY, fields={"place_id": "long-ago"}),
        report("r5", reported_date=far_ahead, contact={"_id": "silent"}, fields={"place_id": "never"}),
        report("r6", reported_date="broken", form=""),
    )
    warehouse.run()
    covered = source(DATASETS["cht_coverage"])
    assert set(warehouse.rows(f"select uuid, kind, area, unit, reached from {covered}")) == {
        ("active", "Health worker", "District", "Area", True),
        ("silent", "Health worker", "District", "Area", False),
        ("by-member", "Household", "District", "Area", True),
        ("by-uuid", "Household", "District", "Area", True),
        ("by-place", "Household", "District", "Area", True),
        ("long-ago", "Household", "District", "Area", False),
        ("never", "Household", "District", "Area", False),
        ("outside", "Household", "(unknown)", "(unknown)", False),
    }
    reports = source(DATASETS["cht_reports"])
    assert dict(warehouse.rows(f"select uuid, period from {reports}")) == {
        "r1": "Last 26 weeks", "r2": "Last 26 weeks", "r3": "Last 26 weeks", "r4": "Last 26 weeks",
        "r5": "In the future", "r6": "No usable date",
    }  # fmt: skip
    assert warehouse.rows(f"select area, form from {reports} where uuid in ('r1', 'r6') order by uuid") == [
        ("District", "pregnancy"),
        ("(unknown)", "(no form)"),
    ]
    kinds = dict(warehouse.rows(f"select uuid, kind from {source(DATASETS['cht_registrations'])}"))
    assert (kinds["active"], kinds["never"], kinds["area"]) == ("Persons", "Households", "Other places")
    freshness = source(DATASETS["cht_freshness"])
    ((documents, rejected, newest),) = warehouse.rows(
        f"select documents, documents_with_rejects, newest_report from {freshness}"
    )
    assert (documents, rejected) == (20, 1)
    assert int(newest.timestamp() * 1000) == REPORTED


def test_documents_that_a_model_has_not_seen(warehouse: Warehouse) -> None:
    """They are counted from the last run of the model that went well."""
    warehouse.save(person("a"))
    models = ("--select", "document_metadata", "data_record")
    warehouse.run(*models)
    runs = source(DATASETS["cht_model_runs"])
    assert set(warehouse.rows(f"select status, documents_waiting from {runs}")) == {("success", 0)}
    warehouse.execute("alter table data_record add constraint broken check (form is null) not valid")
    ahead = warehouse.value("select (now() at time zone 'UTC') + interval '1 day'")
    warehouse.save(report("r"), at=ahead)
    assert not warehouse.dbt("run", *models).success
    assert warehouse.rows(f"select status, documents_waiting from {runs} where model = 'data_record'") == [("error", 1)]
