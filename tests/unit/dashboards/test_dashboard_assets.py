"""The files of ``include/superset`` fit each other, and what is made of them for one deployment holds no password."""

from __future__ import annotations

import io
import json
import re
import zipfile
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from cht_sync.dashboards.bundle import DATABASE_FILE, MASK, address, assets, bundle, prepared
from cht_sync.dashboards.settings import Warehouse
from cht_sync.settings.settings import REPOSITORY

# So that every deployment knows an asset by the same.
NAMESPACE = uuid5(NAMESPACE_URL, "cht-sync-airflow/superset")
ASSETS = assets()
CHARTS = [name for name in ASSETS if name.startswith("charts/")]
DATASETS = {content["uuid"]: content for name, content in ASSETS.items() if name.startswith("datasets/")}
(DASHBOARD,) = (content for name, content in ASSETS.items() if name.startswith("dashboards/"))
WAREHOUSE = Warehouse("db.example.org", 5433, "cht sync", "Mo dels", "cht@dash", "s3cret/pass", {"sslmode": "require"})


def tables_of(query: str) -> set[str]:
    """The relations that a query reads, without its own common table expressions."""
    own = set(re.findall(r"(\w+) as \(\n", query)) | {"lateral"}
    read = set(re.findall(r'(?:from|join)\s+"?([a-z_]+)"?', query))
    return read - own - {"now"}


@pytest.mark.parametrize("name", sorted(set(ASSETS) - {"metadata.yaml"}))
def test_uuids_follow_from_the_path(name):
    assert ASSETS[name]["uuid"] == str(uuid5(NAMESPACE, name))
    assert ASSETS[name]["version"] == "1.0.0"


def test_no_file_holds_a_password_or_an_id_of_one_superset():
    for path in (REPOSITORY / "include" / "superset").rglob("*.yaml"):
        text = path.read_text()
        assert not re.search(r"password|slice_id|datasource:|datasetId", text), path
    assert MASK in ASSETS[DATABASE_FILE]["sqlalchemy_uri"]
    assert not any(
        ASSETS[DATABASE_FILE][each] for each in ("allow_dml", "allow_ctas", "allow_cvas", "allow_csv_upload")
    )


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_asks_for_what_its_dataset_has(name):
    chart = ASSETS[name]
    dataset = DATASETS[chart["dataset_uuid"]]
    columns = {column["column_name"] for column in dataset["columns"]}
    metrics = {metric["metric_name"] for metric in dataset["metrics"]}
    params = chart["params"]
    assert params["viz_type"] == chart["viz_type"]
    sort = {json.loads(each)[0] for each in params.get("order_by_cols", [])}
    asked = {
        *params.get("groupby", []),
        *params.get("all_columns", []),
        *sort,
        *([params["x_axis"]] if "x_axis" in params else []),
    }
    assert asked <= columns
    measured = {
        *params.get("metrics", []),
        *(params[each] for each in ("metric", "timeseries_limit_metric") if each in params),
    }
    assert measured <= metrics
    assert asked | measured


def test_each_dataset_is_on_the_database_and_read_by_a_chart():
    assert {dataset["database_uuid"] for dataset in DATASETS.values()} == {ASSETS[DATABASE_FILE]["uuid"]}
    assert {ASSETS[name]["dataset_uuid"] for name in CHARTS} == set(DATASETS)


def test_no_dataset_holds_a_value_or_a_name_of_a_person():
    columns = {(each["table_name"], column["column_name"]) for each in DATASETS.values() for column in each["columns"]}
    assert ("document_rejects", "value") not in columns
    assert not {name for _, name in columns} & {"name", "phone", "phone2", "from_phone", "notes", "doc"}


def test_the_dashboard_shows_each_chart_once():
    placed = [each for each in DASHBOARD["position"].values() if isinstance(each, dict) and each["type"] == "CHART"]
    shown = [each["meta"]["uuid"] for each in placed]
    assert sorted(shown) == sorted(ASSETS[name]["uuid"] for name in CHARTS)
    # Superset swaps these ids for its own: equal ones would all become one chart.
    assert len({each["meta"]["chartId"] for each in placed}) == len(placed)
    rows = [each for each in DASHBOARD["position"].values() if isinstance(each, dict) and each["type"] == "ROW"]
    for row in rows:
        assert sum(DASHBOARD["position"][child]["meta"]["width"] for child in row["children"]) == 12
    names = {ASSETS[name]["uuid"]: ASSETS[name]["slice_name"] for name in CHARTS}
    assert {each["meta"]["uuid"]: each["meta"]["sliceName"] for each in placed} == names


def test_filters_name_columns_of_datasets():
    for each in DASHBOARD["metadata"]["native_filter_configuration"]:
        for target in each["targets"]:
            columns = {column["column_name"] for column in DATASETS[target["datasetUuid"]]["columns"]}
            assert target["column"]["name"] in columns


def test_the_exposure_names_the_dashboard_and_the_models_it_reads():
    text = (REPOSITORY / "include/dbt/starter/models/exposures.yml").read_text()
    (exposure,) = yaml.safe_load(text)["exposures"]
    assert exposure["name"] == DASHBOARD["slug"].replace("-", "_")
    assert exposure["label"] == DASHBOARD["dashboard_title"]
    read = set()
    for dataset in DATASETS.values():
        read |= tables_of(dataset["sql"]) if dataset["sql"] else {dataset["table_name"]}
    assert {re.match(r"ref\('(\w+)'\)$", each)[1] for each in exposure["depends_on"]} == read


def test_an_archive_names_the_deployment_and_no_password():
    archive = bundle(prepared(WAREHOUSE))
    assert archive == bundle(prepared(WAREHOUSE))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        texts = {name: opened.read(name).decode() for name in opened.namelist()}
    assert set(texts) == {f"cht_sync/{name}" for name in ASSETS}
    assert not [name for name, text in texts.items() if WAREHOUSE.password in text or "s3cret" in text]
    held = {name: yaml.safe_load(text) for name, text in texts.items()}
    database = held[f"cht_sync/{DATABASE_FILE}"]
    wanted = f"postgresql+psycopg2://cht%40dash:{MASK}@db.example.org:5433/cht%20sync?sslmode=require"
    assert database["sqlalchemy_uri"] == wanted
    assert {each["schema"] for name, each in held.items() if name.startswith("cht_sync/datasets/")} == {"Mo dels"}
    for name in CHARTS:
        context = json.loads(held[f"cht_sync/{name}"]["query_context"])
        assert context["queries"][0]["columns"] or context["queries"][0]["metrics"]


def test_an_address_of_ipv6_stands_in_brackets():
    made = address(Warehouse("::1", 5432, "cht_sync", "v1", "cht_dashboard", "x"))
    assert made == f"postgresql+psycopg2://cht_dashboard:{MASK}@[::1]:5432/cht_sync"
