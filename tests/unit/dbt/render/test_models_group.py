import json
from datetime import datetime

import pytest
from airflow.sdk import DAG

from cht_sync.dbt.project.source import configured_source
from cht_sync.dbt.project.version import STARTER_GRAPH, Deployment
from cht_sync.dbt.render.models_group import models_group
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

MODELS = {model["name"] for model in json.loads(STARTER_GRAPH.read_text())["nodes"].values()}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    def connect(*_):
        raise AssertionError("nothing may be looked up while a DAG is drawn")

    monkeypatch.setattr("cht_sync.dbt.launch.profile.dbt_connection", connect)
    monkeypatch.setattr("cht_sync.dbt.operators.dbt_task.dbt_connection", connect)

    def drawn(**environ):
        settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path), **environ})
        with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
            models_group(settings)
        return dag

    return drawn


def test_local_mode_has_one_task_for_each_model(draw):
    dag = draw(CHT_MODELS_EXECUTION="local")
    assert set(dag.task_ids) == {"models.retry_failed", *(f"models.{name}" for name in MODELS)}
    contact = dag.get_task("models.contact")
    assert contact.upstream_task_ids == {"models.document_metadata", "models.retry_failed"}
    assert contact.select == "fqn:cht_starter.contacts.contact"
    assert contact.install_deps is False
    assert contact.emit_datasets
    assert contact.doc_md.startswith("One row per person")
    assert contact.vars is None


def test_watcher_mode_has_a_task_more(draw):
    dag = draw(CHT_MODELS_EXECUTION="watcher", DBT_BATCH_SIZE="500", CHT_SYNC_TIMEOUT="7")
    assert set(dag.task_ids) == {"models.dbt_run", *(f"models.{name}" for name in MODELS)}
    run, contact = dag.get_task("models.dbt_run"), dag.get_task("models.contact")
    assert (run.base_cmd, run.select, run.retries, run.vars) == (["run"], None, 1, {"batch_size": 500})
    assert run.execution_timeout.total_seconds() == contact.timeout == 420
    assert (contact.producer_task_id, contact.deferrable, contact.poke_interval) == ("models.dbt_run", False, 1)
    assert contact.retries == 1
    assert not run.upstream_task_ids | run.downstream_task_ids


def test_dbt_runs_exactly_what_is_drawn(draw):
    dag = draw(CHT_MODELS_EXECUTION="watcher", DBT_SELECTOR="contact person")
    assert set(dag.task_ids) == {"models.dbt_run", "models.contact", "models.person"}
    assert dag.get_task("models.dbt_run").select == "fqn:cht_starter.contacts.contact fqn:cht_starter.contacts.person"


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"DBT_LOCAL_PATH": "/p"}, "No dbt project is installed"),
        ({"DBT_SELECTOR": "state:modified"}, "DBT_SELECTOR"),
        ({"CHT_MODELS_EXECUTION": "async"}, "CHT_MODELS_EXECUTION"),
        ({"DBT_THREAD_COUNT": "many"}, "DBT_THREAD_COUNT"),
        ({"CHT_PIPELINE_BRANCH_URL": "ext::sh"}, "CHT_PIPELINE_BRANCH_URL"),
    ],
)
def test_what_cannot_be_drawn_is_a_task_that_says_why(draw, environ, reason):
    dag = draw(**environ)
    (task,) = dag.tasks
    assert task.task_id == "models.not_ready"
    with pytest.raises(SettingsError, match=reason):
        task.execute({})


def test_models_of_one_name_and_ephemeral_ones(draw, tmp_path):
    environ = {"CHT_PIPELINE_DIR": str(tmp_path), "DBT_LOCAL_PATH": "/p"}
    path = tmp_path / "versions" / "one"
    path.mkdir(parents=True)
    graph = json.loads(STARTER_GRAPH.read_text())
    contact = graph["nodes"]["model.cht_starter.contact"]
    graph["nodes"] = {
        "model.a.contact": {**contact, "package_name": "a", "fqn": ["a", "contact"], "depends_on": {"nodes": []}},
        "model.b.contact": {
            **contact,
            "package_name": "b",
            "fqn": ["b", "contact"],
            "config": {"materialized": "ephemeral"},
            "depends_on": {"nodes": ["model.a.contact"]},
        },
    }
    (path / "graph.json").write_text(json.dumps(graph))
    Deployment(path, path / "graph.json", "/p", configured_source(Settings(environ)).fingerprint).save()
    (tmp_path / "current").symlink_to("versions/one")
    dag = draw(DBT_LOCAL_PATH="/p", CHT_MODELS_EXECUTION="local")
    assert set(dag.task_ids) == {"models.retry_failed", "models.a__contact", "models.b__contact"}
    assert dag.get_task("models.b__contact").task_type == "EmptyOperator"
    (path / "graph.json").write_text("{")
    assert draw(DBT_LOCAL_PATH="/p").task_ids == ["models.not_ready"]


@pytest.fixture
def with_forms(tmp_path):
    """The starter as it is installed with the models of two forms."""
    graph = json.loads(STARTER_GRAPH.read_text())
    shape = graph["nodes"]["model.cht_starter.data_record"]
    for name in ("form_delivery", "form_pregnancy"):
        graph["nodes"][f"model.cht_forms.{name}"] = {
            **shape,
            "name": name,
            "alias": name,
            "package_name": "cht_forms",
            "fqn": ["cht_forms", name],
            "tags": ["forms"],
            "depends_on": {"nodes": ["model.cht_starter.data_record"]},
        }
    path = tmp_path / "versions" / "one"
    path.mkdir(parents=True)
    (path / "graph.json").write_text(json.dumps(graph))
    Deployment(path, path / "graph.json", "starter", configured_source(Settings({})).fingerprint).save()
    (tmp_path / "current").symlink_to("versions/one")


def test_all_models_of_forms_have_one_task(draw, with_forms):
    dag = draw(CHT_MODELS_EXECUTION="watcher")
    assert set(dag.task_ids) == {"models.dbt_run", "models.forms", *(f"models.{name}" for name in MODELS)}
    assert dag.get_task("models.forms").upstream_task_ids == {"models.dbt_run"}
    assert dag.get_task("models.dbt_run").select is None, "they are run with all others"

    dag = draw(CHT_MODELS_EXECUTION="local")
    forms = dag.get_task("models.forms")
    assert forms.select == "fqn:cht_forms.form_delivery fqn:cht_forms.form_pregnancy"
    read = {"models.contact", "models.data_record", "models.document_metadata", "models.document_rejects"}
    assert forms.upstream_task_ids == {"models.retry_failed", *read}


def test_models_of_forms_follow_the_selector(draw, with_forms):
    dag = draw(CHT_MODELS_EXECUTION="watcher", DBT_SELECTOR="tag:forms")
    assert set(dag.task_ids) == {"models.dbt_run", "models.forms"}
    assert set(draw(DBT_SELECTOR="tag:base").task_ids).isdisjoint({"models.forms"})
