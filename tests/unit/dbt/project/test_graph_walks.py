import pytest

from cht_sync.dbt.project.manifest import parents_of, reachable, reversed_edges

EDGES = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": ["source"], "x": ["y"], "y": ["x"]}


@pytest.mark.parametrize(
    ("start", "depth", "found"),
    [
        (["d"], None, ["d", "b", "c", "a", "source"]),
        (["d"], 1, ["d", "b", "c"]),
        (["d", "x"], 0, ["d", "x"]),
        (["c", "b"], 2, ["c", "b", "a", "source"]),
        (["x"], None, ["x", "y"]),
        (["nothing"], None, ["nothing"]),
        ([], None, []),
    ],
)
def test_the_nearest_come_first_and_each_once(start, depth, found):
    assert reachable(start, EDGES, depth) == found
    assert reachable(start, lambda name: EDGES.get(name, ()), depth) == found


def test_children_of_a_manifest():
    nodes = {"a": {}, "b": {"depends_on": {"nodes": ["a"]}}, "c": {"depends_on": {"nodes": ["a", "b"]}}}
    assert parents_of(nodes) == {"a": [], "b": ["a"], "c": ["a", "b"]}
    assert reversed_edges(parents_of(nodes)) == {"a": ["b", "c"], "b": ["c"]}
