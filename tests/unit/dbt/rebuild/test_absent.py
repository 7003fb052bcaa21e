"""What is built anew reads nothing that is not there."""

import pytest

from cht_sync.dbt.rebuild.plan import with_what_they_read


def manifest(**parents):
    nodes = {
        name: {
            "name": name,
            "unique_id": name,
            "resource_type": "model",
            "schema": "v1",
            "alias": name,
            "config": {"materialized": "incremental"},
            "columns": {},
            "depends_on": {"nodes": above.split()},
        }
        for name, above in parents.items()
    }
    return {"nodes": nodes}


CHAIN = manifest(root="", middle="root", leaf="middle", aside="root")


@pytest.mark.parametrize(
    ("why", "absent", "expected"),
    [
        ("leaf", "", "leaf"),
        ("leaf", "leaf", "leaf"),  # new, upon what is there
        ("leaf", "root middle leaf aside", ""),  # no model has run yet
        ("middle leaf", "root middle leaf", ""),
        ("root middle leaf aside", "root middle leaf aside", "root middle leaf aside"),  # all of it is asked for
        ("leaf", "middle", "leaf middle"),
        ("leaf", "root middle", "leaf middle root"),
        ("leaf aside", "root middle aside", "leaf middle root aside"),
        ("leaf aside", "middle aside", "leaf middle aside"),
    ],
)
def test_what_is_built(why, absent, expected):
    wanted = dict.fromkeys(why.split(), "modified")
    found = with_what_they_read(CHAIN, wanted, set(CHAIN["nodes"]), set(absent.split()))
    assert set(found) == set(expected.split())
    assert all(found[name] == "modified" for name in set(found) & set(wanted))


def test_a_foreign_key_counts_as_reading():
    project = manifest(root="", leaf="")
    project["nodes"]["leaf"]["columns"] = {
        "uuid": {
            "name": "uuid",
            "constraints": [{"type": "foreign_key", "expression": '"v1".root (uuid) on delete cascade'}],
        }
    }
    assert with_what_they_read(project, {"leaf": "modified"}, {"root", "leaf"}, {"root", "leaf"}) == {}


def test_what_is_not_run_is_not_built():
    found = with_what_they_read(CHAIN, {"leaf": "modified"}, {"leaf"}, {"middle"})
    assert set(found) == {"leaf"}
