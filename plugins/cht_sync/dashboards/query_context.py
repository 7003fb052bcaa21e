"""What a chart asks of its dataset, for whoever asks without a browser: reports, alerts and Superset's API."""

from __future__ import annotations

import json
from typing import Any

Params = dict[str, Any]


def query_context(params: Params) -> dict[str, Any]:
    """The query context of a chart of one of the kinds in ``include/superset``.

    Superset's own pages make it from the params, in the browser; its server does not.
    Source: ``ChartDataRestApi.get_data`` in ``superset/charts/data/api.py``.

    :param params: of the chart.
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


def _asked(params: Params) -> dict[str, Any]:
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
