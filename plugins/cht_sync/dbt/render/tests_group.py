"""Draws the data tests of the installed dbt project as tasks."""

from __future__ import annotations

import logging
from collections import Counter

from airflow.sdk import TaskGroup, task
from airflow.sdk.exceptions import AirflowFailException

from cht_sync.callbacks.task_callbacks import LAST_TASK
from cht_sync.dbt.operators.publish_docs import PublishDocs
from cht_sync.dbt.operators.run_tests import RunTests
from cht_sync.dbt.operators.show_tests import ShowTests
from cht_sync.dbt.project.graph import DataTest, Graph
from cht_sync.dbt.project.groups import model_groups
from cht_sync.dbt.project.version import require_current
from cht_sync.dbt.render import cosmos_defaults
from cht_sync.dbt.render.models_group import dbt_arguments, read_graph, refusal, task_ids
from cht_sync.dbt.tables.test_results import DataTestResults
from cht_sync.errors import SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

OF_NO_MODEL = "sources"


def draw_data_tests(settings: Settings) -> None:
    """One task that runs the data tests, one for each model that shows how its tests ended, one that sums up.

    Beside them one publishes the documentation. Reads local files only.
    """
    cosmos_defaults.apply()
    try:
        deployment = require_current(settings)
        graph = read_graph(deployment)
        tests = _chosen(graph, settings)
        arguments = dbt_arguments(settings, deployment)
    except SettingsError as error:
        refusal("tests", str(error))
        return
    PublishDocs(task_id="docs", task_display_name="docs: of the dbt project", doc_md=PublishDocs.__doc__, **arguments)
    if not tests:
        return
    names = task_ids(graph)
    everything = len(tests) == len(graph["tests"])
    run = RunTests(
        task_id="run_tests",
        task_display_name="run_tests: dbt, once for all",
        doc_md=RunTests.__doc__,
        model_of={test: names.get(one["model"] or "") for test, one in tests.items()},
        select=None if everything else " ".join(one["name"] for one in tests.values()),
        dbt_cmd_flags=["--exclude-resource-type", "unit_test"],
        **arguments,
    )
    by_model: dict[str, list[str]] = {}
    for test, one in sorted(tests.items()):
        by_model.setdefault(names.get(one["model"] or "", OF_NO_MODEL), []).append(test)
    with TaskGroup("tests", tooltip="One task for each model that has tests.") as group:
        for name, ids in sorted(by_model.items()):
            text = "\n".join(f"* `{tests[test]['name']}`" for test in ids)
            ShowTests(task_id=name, tests=ids, doc_md=text, retries=0)
    run >> group >> report_tests()


@task(task_id="result", task_display_name="result: test summary", trigger_rule="none_skipped", retries=0, **LAST_TASK)
def report_tests(run_id: str | None = None) -> dict[str, int]:
    """Counts the tests of the run by how they ended; fails where one has failed or none was run."""
    settings = Settings()
    stored = DataTestResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
    results = stored.of_run(run_id or "")
    counts = dict(Counter("acknowledged" if one.acknowledged else one.status for one in results))
    failed = [str(one) for one in results if one.failed]
    for one in results:
        if one.acknowledged:
            log.warning("%s", one)
    for each in sorted(set(stored.acknowledgements.all()) - {name for one in results for name in (one.test, one.name)}):
        log.warning("%s is acknowledged to fail, but is no test of this run: take that back.", each)
    if not results:
        raise AirflowFailException("No data test was run: the log of run_tests says why.")
    if failed:
        raise AirflowFailException(f"{len(failed)} of {len(results)} data tests failed: {'; '.join(failed)}")
    return counts


def _chosen(graph: Graph, settings: Settings) -> dict[str, DataTest]:
    """The tests that read chosen models only, since others need not exist."""
    tests = graph.get("tests", {})
    chosen = {model for group in model_groups(graph, settings) for model in group.models}
    return {name: test for name, test in tests.items() if chosen.issuperset(test["models"])}
