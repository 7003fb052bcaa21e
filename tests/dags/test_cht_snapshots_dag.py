"""The DAG of the snapshots, as Airflow reads it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from cht_sync.dbt.project import version
from cht_sync.dbt.project.graph import drawable

FILE = Path(__file__).parents[2] / "dags" / "cht_snapshots_dag.py"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the DAG file, with a project that has these snapshots; gives the DAG or None."""

    def read(*snapshots, **environ):
        graph = json.loads(version.STARTER_GRAPH.read_text())
        (tmp_path / "graph.json").write_text(json.dumps({**graph, "snapshots": list(snapshots)}))
        monkeypatch.setattr(version, "STARTER_GRAPH", tmp_path / "graph.json")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE)).get("dag")

    return read


def test_it_is_there_where_the_project_has_snapshots(read):
    assert read() is None
    dag = read("snapshot.team.visits_then")
    (task,) = dag.tasks
    assert (dag.schedule, dag.max_active_runs, task.base_cmd, task.retries) == ("@daily", 1, ["snapshot"], 1)


def test_it_has_a_schedule_of_its_own(read):
    assert read(CHT_SNAPSHOTS_SCHEDULE="0 3 * * *").schedule == "0 3 * * *"
    assert read("snapshot.team.visits_then", CHT_SNAPSHOTS_SCHEDULE="none").schedule is None


def test_a_model_that_reads_a_snapshot_comes_after_what_that_is_made_of():
    def node(kind, *parents, **more):
        return {
            "resource_type": kind, "name": "n", "alias": "n", "package_name": "p", "original_file_path": "", "fqn": [],
            "tags": [], "config": {"materialized": "table"}, "depends_on": {"nodes": list(parents)}, **more,
        }  # fmt: skip

    nodes = {
        "model.p.a": node("model", "seed.p.s"),
        "snapshot.p.b": node("snapshot", "model.p.a"),
        "model.p.c": node("model", "snapshot.p.b", "source.p.raw"),
    }
    graph = drawable({"nodes": nodes, "selectors": {}, "metadata": {"project_name": "p"}})
    assert graph["snapshots"] == ["snapshot.p.b"]
    assert graph["nodes"]["model.p.c"]["depends_on"]["nodes"] == ["source.p.raw", "model.p.a"]
