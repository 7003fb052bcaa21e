import pytest

from cht_sync.dbt.project.selection import selected
from cht_sync.errors import SettingsError


def model(name, folder, tags=(), parents=(), package="p", materialized="incremental"):
    return {
        "fqn": [package, folder, name],
        "tags": list(tags),
        "package_name": package,
        "config": {"materialized": materialized},
        "depends_on": {"nodes": ["source.p.raw", *(f"model.p.{parent}" for parent in parents)]},
    }


GRAPH = {
    "selectors": {
        "base_models": {"definition": {"method": "tag", "value": "base"}},
        "mixed": {
            "definition": {
                "union": [
                    {"method": "tag", "value": "user"},
                    {"method": "fqn", "value": "contact", "children": True},
                    {"exclude": [{"method": "fqn", "value": "place"}]},
                ]
            }
        },
        "strange": {"definition": {"method": "state", "value": "modified"}},
    },
    "nodes": {
        "model.p.documents": model("documents", "root", ["base"]),
        "model.p.contact": model("contact", "contacts", ["base"], ["documents"]),
        "model.p.person": model("person", "contacts", ["base", "people"], ["contact"]),
        "model.p.place": model("place", "contacts", ["base"], ["contact"]),
        "model.p.patient": model("patient", "contacts", (), ["person"], materialized="view"),
        "model.p.telemetry": model("telemetry", "users", ["user"], ["documents"]),
        "model.q.visit": model("visit", "forms", ["forms"], package="q"),
    },
}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", "documents contact person place patient telemetry visit"),
        ("tag:base", "documents contact person place"),
        ("tag:base,contacts", "contact person place"),
        ("tag:user tag:forms", "telemetry visit"),
        ("contact", "contact"),
        ("contacts", "contact person place patient"),
        ("p.contacts", "contact person place patient"),
        ("q", "visit"),
        ("package:q", "visit"),
        ("p*", "documents contact person place patient telemetry"),
        ("fqn:p.contacts.person", "person"),
        ("+person", "documents contact person"),
        ("1+person", "contact person"),
        ("contact+1", "contact person place"),
        ("contact+", "contact person place patient"),
        ("1+contact+1", "documents contact person place"),
        ("@person", "documents contact person patient"),
        ("config.materialized:view", "patient"),
        ("config.tags:forms", "visit"),
        ("selector:base_models", "documents contact person place"),
        ("selector:mixed", "telemetry contact person patient"),
        ("resource_type:model,tag:user", "telemetry"),
        ("tag:base tag:none", "documents contact person place"),
    ],
)
def test_expressions(expression, names):
    assert {name.rsplit(".", 1)[1] for name in selected(GRAPH, expression)} == set(names.split())


@pytest.mark.parametrize(
    "expression", ["state:modified", "selector:nope", "selector:strange", "path:models/x", "@a+", "++a", "tag:", "nope"]
)
def test_what_cannot_be_used_is_named(expression):
    with pytest.raises(SettingsError, match="DBT_SELECTOR"):
        selected(GRAPH, expression)


def test_a_project_without_models():
    with pytest.raises(SettingsError, match="no model"):
        selected({"nodes": {}, "selectors": {}}, "")
