import pytest

from cht_sync.dbt.project.missing_packages import first_use


def macro(sql, uses=(), package="p", name="m"):
    return {"macro_sql": sql, "depends_on": {"macros": list(uses)}, "package_name": package, "name": name}


def manifest(node=None, **macros):
    base = {
        "name": "contact",
        "raw_code": "select 1",
        "config": {"materialized": "table"},
        "depends_on": {"macros": ["macro.p.used"]},
    }
    known = {
        "macro.p.used": macro("x", ["macro.p.deep"]),
        "macro.p.deep": macro("y"),
        "macro.dbt.generate_schema_name": macro("z", package="dbt", name="generate_schema_name"),
    }
    return {"nodes": {"model.p.contact": {**base, **(node or {})}}, "macros": {**known, **macros}}


def test_an_uncalled_macro_may_mention_it():
    assert first_use(manifest(**{"macro.p.idle": macro("{{ dbt_utils.dateadd() }}")}), ["dbt_utils"]) is None


@pytest.mark.parametrize(
    "found",
    [
        manifest({"raw_code": "select {{ dbt_utils.star(ref('x')) }}"}),
        manifest({"raw_code": "{{ adapter.dispatch('star', 'dbt_utils')() }}"}),
        manifest({"config": {"materialized": "table", "post-hook": [{"sql": "{{ dbt_utils.log() }}"}]}}),
        manifest(**{"macro.p.used": macro("{{ dbt_utils.dateadd() }}")}),
        manifest(**{"macro.p.deep": macro("{{ dbt_utils . dateadd() }}")}),
        manifest(
            {"raw_code": "{% if is_incremental() %}{{ hidden('x') }}{% endif %}"},
            **{"macro.p.hidden": macro("{{ dbt_utils.x() }}", name="hidden")},
        ),
        manifest(
            {"raw_code": "{{ adapter.dispatch('hidden')() }}"},
            **{"macro.p.default__hidden": macro("{{ dbt_utils.x() }}", name="default__hidden")},
        ),
        manifest(**{"macro.p.mat": macro("{{ dbt_utils.x() }}", name="materialization_table_default")}),
        manifest(**{"macro.p.gen": macro("{{ dbt_utils.x() }}", name="generate_schema_name")}),
    ],
)
def test_whatever_can_run_may_not(found):
    assert first_use(found, ["dbt_date", "dbt_utils"]) == ("contact", "dbt_utils")


def test_similar_names_are_no_use():
    assert (
        first_use(manifest({"raw_code": "select my_dbt_utils.x, dbt_utils_2.y, dbt_utils from t"}), ["dbt_utils"])
        is None
    )
