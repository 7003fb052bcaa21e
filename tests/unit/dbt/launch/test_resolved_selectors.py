"""What dbt has said of parts of DBT_SELECTOR."""

import json

import pytest

from cht_sync.dbt.launch.resolved_selectors import SELECTIONS_FILE, with_selections
from cht_sync.dbt.project.selection import selected, unresolved
from cht_sync.errors import SettingsError
from tests.unit.dbt.project.test_selection import GRAPH


def test_what_dbt_has_said_counts_with_what_is_known_here(tmp_path):
    told = {"path:models/x+": ["model.p.contact", "model.p.gone"], "seed+1": ["model.p.place"]}
    (tmp_path / SELECTIONS_FILE).write_text(json.dumps(told))
    graph = with_selections(GRAPH, tmp_path)
    assert selected(graph, "path:models/x+,tag:base seed+1") == {"model.p.contact", "model.p.place"}
    assert unresolved(graph, "path:models/x+,tag:base seed+1") == []
    assert with_selections(GRAPH, tmp_path / "nowhere") == GRAPH


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("tag:base contact+", []),
        ("path:models/x,tag:base exposure:page", ["path:models/x", "exposure:page"]),
        ("selector:strange", ["selector:strange"]),
        # It may be the name of a seed or a source.
        ("places+", ["places+"]),
    ],
)
def test_only_what_cannot_be_told_here_is_asked(expression, asked):
    assert unresolved(GRAPH, expression) == asked
    # With a snapshot in between, steps are counted by dbt.
    assert unresolved({**GRAPH, "snapshots": ["snapshot.p.s"]}, "1+person") == ["1+person"]


def test_what_was_not_resolved_yet_says_how():
    with pytest.raises(
        SettingsError, match="'exposure:page', which dbt has to resolve: trigger the DAG cht_pipeline_deploy"
    ):
        selected(GRAPH, "exposure:page")
