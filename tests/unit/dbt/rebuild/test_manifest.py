import json

import pytest

from cht_sync.dbt.rebuild.manifest import (
    ForeignKey,
    constrained,
    descendants,
    foreign_keys,
    read_manifest,
    staging_schema,
)
from cht_sync.errors import SettingsError


def model(name, *parents, **more):
    return {
        "name": name,
        "alias": name,
        "schema": "v1",
        "resource_type": "model",
        "config": {"materialized": "table"},
        "columns": {},
        "depends_on": {"nodes": list(parents)},
        **more,
    }


@pytest.mark.parametrize("schema", ["v1", "ä" * 31, "x" * 63, "x" * 58, "x" * 57])
def test_the_schema_staging_is_one_that_postgres_does_not_cut(schema):
    staging = staging_schema(schema)
    assert len(staging.encode()) <= 63
    assert staging.endswith("__next")
    assert staging != staging_schema(schema[:-1] + "y")


def test_what_hangs_from_a_model():
    nodes = {"a": model("a"), "b": model("b", "a"), "c": model("c", "b", "d"), "d": model("d")}
    assert descendants({"nodes": nodes}, ["a"]) == {"a", "b", "c"}
    assert descendants({"nodes": nodes}, []) == set()


def test_foreign_keys_of_columns_and_of_the_model():
    column = {"name": "uuid", "constraints": [{"type": "foreign_key", "expression": "v1.b (id) on delete cascade"}]}
    whole = {"type": "foreign_key", "columns": ["x", "y"], "to": "ref('b')", "to_columns": ["p", "q"]}
    node = model("a", columns={"uuid": column}, constraints=[whole, {"type": "check", "expression": "x > 0"}])
    manifest = {"nodes": {"a": node, "b": model("b", alias="bee")}}
    assert foreign_keys(manifest, node) == [
        ForeignKey(("uuid",), "v1", "b", ("id",), True, "v1.b (id) on delete cascade"),
        ForeignKey(("x", "y"), "v1", "bee", ("p", "q"), False),
    ]


def test_dbt_makes_constraints_of_tables_with_an_enforced_contract_only():
    enforced = {"contract": {"enforced": True}}
    assert constrained(model("a", config={"materialized": "incremental", **enforced}))
    assert not constrained(model("a", config={"materialized": "view", **enforced}))
    assert not constrained(model("a", config={"materialized": "table", "contract": {"enforced": False}}))


def test_a_version_without_manifest_is_told(tmp_path):
    with pytest.raises(SettingsError, match=r"manifest.json cannot be read \(FileNotFoundError\)"):
        read_manifest(tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "manifest.json").write_text(json.dumps({"nodes": {}}))
    assert read_manifest(tmp_path) == {"nodes": {}}
