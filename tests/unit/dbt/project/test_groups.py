import pytest

from cht_sync.dbt.project.groups import hook_models, model_groups
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


def node(name, tag, *parents):
    return {
        "name": name,
        "package_name": "p",
        "fqn": ["p", name],
        "tags": [tag],
        "config": {"materialized": "table"},
        "depends_on": {"nodes": [f"model.p.{parent}" for parent in parents] + ["source.p.raw"]},
    }


GRAPH = {
    "nodes": {
        f"model.p.{each['name']}": each
        for each in (
            node("root", "base"),
            node("child", "base", "root"),
            node("late", "user", "root"),
            node("log", "no"),
        )
    },
    "selectors": {},
    "hooks": ["model.p.log", "model.gone.x"],
}


def groups(selector, graph=GRAPH, threads="1"):
    return model_groups(graph, Settings({"DBT_SELECTOR": selector, "DBT_THREAD_COUNT": threads}))


def names(group):
    return {model.removeprefix("model.p.") for model in group.models}


def test_without_a_selector_there_is_one_group_of_everything():
    (group,) = groups("", threads="4")
    assert (names(group), group.selector, group.threads) == ({"root", "child", "late", "log"}, "", 4)


def test_a_model_belongs_to_the_first_group_that_selects_it_each_with_its_threads():
    first, second = groups("tag:base ; +tag:user;", threads="4; 2")
    assert (first.name, first.selector, first.threads) == ("tag_base", "tag:base", 4)
    assert (second.name, names(second), second.threads) == ("tag_user", {"late"}, 2)


def test_what_hooks_read_is_in_the_first_group():
    first, second = groups("tag:base;tag:user")
    assert names(first) == {"root", "child", "log"}
    assert names(second) == {"late"}
    assert hook_models({**GRAPH, "hooks": ["model.p.child"]}) == {"model.p.child", "model.p.root"}


def test_groups_of_one_name_are_told_apart():
    assert [group.name for group in groups("@child;late;log", {**GRAPH, "hooks": []})] == ["child", "late", "log"]
    assert [group.name for group in groups("root,tag:base;root+,tag:base", {**GRAPH, "hooks": []})] == [
        "root_tag_base", "root_tag_base_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "threads", "reason"),
    [
        ("tag:base;root", "1", r"Group 'root' of DBT_SELECTOR has no model of its own"),
        ("child;root", "1", r"child of group 'child' reads root, which is in the later group 'root'"),
        ("tag:base;tag:none", "1", r"DBT_SELECTOR='tag:none' selects no model"),
        ("tag:base;tag:user", "1;2;3", r"DBT_THREAD_COUNT='1;2;3' holds 3 numbers, but DBT_SELECTOR makes 2"),
        ("tag:base;tag:user", "1;many", r"DBT_THREAD_COUNT='many'"),
    ],
)
def test_what_cannot_be_meant_is_refused(selector, threads, reason):
    with pytest.raises(SettingsError, match=reason):
        groups(selector, threads=threads)


def test_the_settings_know_all_groups_as_one_expression_too():
    settings = Settings({"DBT_SELECTOR": "tag:base; tag:user ;"})
    assert (settings.dbt_selector, settings.dbt_selectors) == ("tag:base tag:user", ["tag:base", "tag:user"])
