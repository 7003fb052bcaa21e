"""The files of ``include/superset`` as the archive that Superset imports."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from cht_sync.dashboards.settings import Warehouse
from cht_sync.settings.settings import REPOSITORY

ASSETS = REPOSITORY / "include" / "superset"
DATABASE_FILE = "databases/cht_sync.yaml"
# What Superset itself writes in the place of a password.
# Source: ``PASSWORD_MASK`` in ``superset/constants.py``.
MASK = "X" * 10


def assets(folder: Path = ASSETS) -> dict[str, dict[str, Any]]:
    """What the files hold, by their path."""
    return {
        path.relative_to(folder).as_posix(): yaml.safe_load(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.yaml"))
    }


def prepared(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """The assets for one deployment: with its database and schema, never with a password."""
    found = assets()
    for name, content in found.items():
        if name == DATABASE_FILE:
            content["sqlalchemy_uri"] = address(warehouse)
        elif name.startswith("datasets/"):
            content["schema"] = warehouse.schema
        elif name.startswith("charts/"):
            content["query_context"] = json.dumps(query_context(content["params"]))
    return found


def address(warehouse: Warehouse) -> str:
    """The SQLAlchemy address of a database, masked where its password belongs."""
    host = f"[{warehouse.host}]" if ":" in warehouse.host else warehouse.host
    user, database = quote(warehouse.user, safe=""), quote(warehouse.database, safe="")
    parameters = f"?{urlencode(warehouse.tls)}" if warehouse.tls else ""
    return f"postgresql+psycopg2://{user}:{MASK}@{host}:{warehouse.port}/{database}{parameters}"


def bundle(contents: dict[str, dict[str, Any]]) -> bytes:
    """The ZIP archive of assets, the same bytes for the same assets.

    Superset takes the first folder off each path.
    Source: ``remove_root`` in ``superset/commands/importers/v1/utils.py``.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            # The time is that of no file: ZipInfo's own, the first of 1980.
            archive.writestr(zipfile.ZipInfo(f"cht_sync/{name}"), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def query_context(params: dict[str, Any]) -> dict[str, Any]:
    """The query context of a chart of one of the kinds in ``include/superset``.

    Superset's own pages make it from the params, in the browser; its server does not.
    Source: ``ChartDataRestApi.get_data`` in ``superset/charts/data/api.py``.
    """
    query: dict[str, Any] = {
        "filters": [],
        "extras": {"having": "", "where": ""},
        "row_limit": params.get("row_limit", 1),
        "order_desc": params.get("order_desc", True),
        **_asked(params),
    }
    # Superset fills in the datasource when it imports the chart.
    return {"datasource": {}, "force": False, "queries": [query], "form_data": params, "result_type": "full"}


def _asked(params: dict[str, Any]) -> dict[str, Any]:
    if "metric" in params:
        return {"columns": [], "metrics": [params["metric"]]}
    if "x_axis" in params:
        axis, grain = params["x_axis"], params["time_grain_sqla"]
        column = {
            "columnType": "BASE_AXIS",
            "expressionType": "SQL",
            "label": axis,
            "sqlExpression": axis,
            "timeGrain": grain,
        }
        return {"columns": [column, *params["groupby"]], "metrics": params["metrics"], "granularity": axis}
    if params["query_mode"] == "raw":
        order = [json.loads(each) for each in params["order_by_cols"]]
        return {"columns": params["all_columns"], "metrics": [], "orderby": order}
    order = [[params["timeseries_limit_metric"], not params["order_desc"]]]
    return {"columns": params["groupby"], "metrics": params["metrics"], "orderby": order}
