"""Draws the models of the installed dbt project as tasks."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AssetAlias, TaskGroup
from airflow.sdk.definitions.param import ParamsDict
from cosmos.airflow.task_group import DbtTaskGroup
from cosmos.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import DbtResourceType, ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.dataset import get_dataset_alias_name
from cosmos.dbt.graph import DbtNode

from cht_sync.callbacks.task_callbacks import succeeded_at_last
from cht_sync.dbt.launch.profile import profile_config
from cht_sync.dbt.launch.resolved_selectors import with_selections
from cht_sync.dbt.operators.gates import RefuseOperator, go_on
from cht_sync.dbt.operators.retry_failed import RetryFailedModels
from cht_sync.dbt.operators.run_all import RunAllModels
from cht_sync.dbt.operators.run_model import RunModel
from cht_sync.dbt.operators.show_forms import ShowForms
from cht_sync.dbt.operators.watch_model import WatchModel
from cht_sync.dbt.project.graph import Graph
from cht_sync.dbt.project.groups import ModelGroup, hook_models, model_groups
from cht_sync.dbt.project.manifest import Node
from cht_sync.dbt.project.version import INSTALL, Deployment, require_current
from cht_sync.dbt.render import cosmos_defaults
from cht_sync.dbt.render.execution_mode import models_mode
from cht_sync.dbt.run.good_end import RUN_ALL_TASK_ID
from cht_sync.errors import SettingsError
from cht_sync.forms.names import FORMS_PACKAGE
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

RETRY_TASK_ID = "retry_failed"
REFUSE_TASK_ID = "not_ready"
FORMS_TASK_ID = "forms"
READ_BY_FORMS = ("data_record", "contact", "document_metadata", "document_rejects")
POKE_INTERVAL_S = 1
RETRY_DELAY = timedelta(seconds=10)


def models_group(settings: Settings, group_id: str = "models") -> TaskGroup:
    """One task for each model of the installed dbt project, in a task group; used inside a DAG.

    In watcher mode a task more, ``dbt_run``, runs dbt once for all of them. Where ``DBT_SELECTOR`` makes several
    groups, each is a group of its own within this one, and they run one after the other, however the one before
    ended. Where there is nothing to draw, the group holds one task that fails and says why. Reads local files only.
    """
    cosmos_defaults.apply()
    try:
        deployment = require_current(settings)
        graph = read_graph(deployment)
        groups = model_groups(graph, settings)
        models_mode(settings)
    except SettingsError as error:
        return refusal(group_id, str(error))
    if len(groups) == 1:
        return _drawn(settings, deployment, graph, groups[0], group_id)
    with TaskGroup(group_id) as outer:
        last: TaskGroup | None = None
        for group in groups:
            drawn = _drawn(settings, deployment, graph, group, group.name)
            if last is not None:
                last >> go_on.override(task_id=f"then_{group.name}")() >> drawn
            last = drawn
    return outer


def _drawn(settings: Settings, deployment: Deployment, graph: Graph, group: ModelGroup, group_id: str) -> TaskGroup:
    draw = _Draw(graph, settings, group)
    drawn = DbtTaskGroup(
        group_id=group_id,
        # With it the DAG's version changes, so that Airflow shows which deployment a run had.
        tooltip=" ".join(filter(None, (group.selector, deployment.source, deployment.revision[:12]))),
        project_config=ProjectConfig(
            manifest_path=deployment.graph,
            project_name=graph["metadata"]["project_name"],
            install_dbt_deps=False,
        ),
        profile_config=profile_config(settings, group.threads),
        # _Draw makes the tasks of either mode; LOCAL keeps Cosmos from adding a producer of its own.
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.LOCAL,
            invocation_mode=InvocationMode.DBT_RUNNER,
            dbt_project_path=deployment.path,
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.NONE,
            node_converters={DbtResourceType.MODEL: draw.model},
            normalize_task_id=draw.task_id,
        ),
        operator_args=draw.operator_args,
    )
    draw.forms(drawn, dbt_arguments(settings, deployment))
    return drawn


def read_graph(deployment: Deployment) -> Graph:
    """The models and tests of a version; SettingsError if its file cannot be read."""
    try:
        graph: Graph = json.loads(deployment.graph.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{deployment.graph} cannot be read ({type(error).__name__}): {INSTALL}.") from None
    return with_selections(graph, deployment.path)


def task_ids(graph: Graph) -> dict[str, str]:
    """The name of each model, by unique id; with its package where two packages have a model of that name."""
    models = graph["nodes"]
    times = Counter(model["name"] for model in models.values())
    return {
        key: model["name"] if times[model["name"]] < 2 else f"{model['package_name']}__{model['name']}"
        for key, model in models.items()
    }


def dbt_arguments(settings: Settings, deployment: Deployment) -> dict[str, Any]:
    """Arguments of a task that runs dbt once for all nodes of a kind."""
    return {
        "profile_config": profile_config(settings),
        "project_dir": str(deployment.path),
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "install_deps": False,
        "emit_datasets": False,
        # What Postgres says about a node that it cannot run may quote a document.
        "dbt_cmd_global_flags": ["--no-use-colors", "--log-level", "none"],
        "execution_timeout": timedelta(minutes=settings.models_timeout),
        # What fails in a node fails its own task, where it has one; these are tried again where their process was lost.
        "retries": 1,
        "retry_delay": RETRY_DELAY,
    }


def refusal(group_id: str, reason: str) -> TaskGroup:
    """A group of one task that fails and says why there is nothing else."""
    log.warning("%s", reason)
    with TaskGroup(group_id) as group:
        RefuseOperator(task_id=REFUSE_TASK_ID, reason=reason, doc_md=reason, retries=0)
    return group


class _Draw:
    """Makes the task of each model, and before the first one the task that runs dbt for all."""

    def __init__(self, graph: Graph, settings: Settings, group: ModelGroup) -> None:
        self._models = graph["nodes"]
        self._group, self._chosen = group, group.models
        self._hook_models = hook_models(graph)
        everything = len(self._chosen) == len(self._models)
        self._selection = None if everything else self._select(*sorted(self._chosen))
        self._watched = models_mode(settings) == "watcher"
        self._task_ids = task_ids(graph)
        self._forms = {name for name, model in graph["nodes"].items() if model["package_name"] == FORMS_PACKAGE}
        self._limit = timedelta(minutes=settings.models_timeout)
        self._first: RunAllModels | RetryFailedModels | None = None
        batch = {"batch_size": settings.dbt_batch_size} if settings.dbt_batch_size else None
        self.operator_args: dict[str, Any] = {
            "vars": batch,
            "retry_delay": RETRY_DELAY,
            "dbt_cmd_global_flags": ["--no-use-colors"],
        }

    def task_id(self, node: DbtNode) -> str:
        """For Cosmos: the task id of a model."""
        return self._task_ids[node.unique_id]

    def model(self, node: DbtNode, task_id: str, task_args: dict[str, Any], dag: Any, task_group: Any, **_: Any) -> Any:
        """The task of a model; None for one that is not selected.

        Source: ``generate_or_convert_task`` in ``cosmos/airflow/graph.py``.
        """
        if node.unique_id not in self._chosen - self._forms:
            return None
        with _without_params(dag):
            return self._task(node, task_id, task_args, {"dag": dag, "task_group": task_group})

    def _task(self, node: DbtNode, task_id: str, task_args: dict[str, Any], place: dict[str, Any]) -> Any:
        if self._first is None:
            self._first = self._first_task({**task_args, **place})
            self._first.takes_batches = self._group.takes_batches
        text = _doc(self._models[node.unique_id])
        if node.has_ephemeral_materialization:
            # dbt writes it into the models that use it. Without callbacks, or Airflow would start a process for it.
            return EmptyOperator(
                task_id=task_id, doc_md=text, on_execute_callback=None, on_success_callback=None, **place
            )
        arguments = {
            **task_args,
            "manifest_filepath": "",
            # A model that runs alone ends with the hooks of the project too, which need their tables.
            "select": self._select(node.unique_id, *sorted(self._hook_models - {node.unique_id})),
            "extra_context": {"dbt_node_config": node.context_dict, "package_name": node.package_name},
            "task_id": task_id,
            "doc_md": text,
            # Cosmos names it when the model has ended, too late for the asset graph.
            "outlets": [AssetAlias(get_dataset_alias_name(place["dag"], place["task_group"], task_id))],
            "retries": 1,
            "on_success_callback": succeeded_at_last,
            **node.operator_kwargs_to_override,
            **place,
        }
        task: RunModel | WatchModel
        if self._watched:
            task = WatchModel(
                producer_task_id=self._first.task_id,
                # Deferred sensors end up failed now and then: https://github.com/apache/airflow/issues/72716.
                deferrable=False,
                poke_interval=POKE_INTERVAL_S,
                timeout=self._limit.total_seconds(),
                **arguments,
            )
        else:
            task = RunModel(execution_timeout=self._limit, **arguments)
            self._first >> task
        task.takes_batches = self._group.takes_batches
        return task

    def forms(self, group: TaskGroup, arguments: dict[str, Any]) -> None:
        """The one task of all models that are made from forms, where there are any.

        :param group: with the tasks of all other models; what Cosmos drew them with is a copy of this object.
        :param arguments: of a task that runs dbt.
        """
        if not (chosen := self._forms & self._chosen):
            return
        drawn = {str(name).rpartition(".")[2]: task for name, task in group.children.items()}
        place = {"dag": group.dag, "task_group": group}
        named = {
            "task_id": FORMS_TASK_ID,
            "task_display_name": f"{FORMS_TASK_ID}: a table for each form",
            "doc_md": "The models that are made from the forms of the CHT; the log says how each ended.",
        }
        with _without_params(group.dag):
            first: Any = drawn.get(RUN_ALL_TASK_ID if self._watched else RETRY_TASK_ID)
            first = first or self._first_task({**arguments, **place})
            if self._watched:
                first >> ShowForms(dbt_task_id=first.task_id, retries=0, **named, **place)
                return
            task = RunModel(select=self._select(*sorted(chosen)), extra_context={}, **{**arguments, **named, **place})
            task.takes_batches = False
            [first, *(drawn[name] for name in READ_BY_FORMS if name in drawn)] >> task

    def _select(self, *names: str) -> str:
        return " ".join(f"fqn:{'.'.join(self._models[name]['fqn'])}" for name in names)

    def _first_task(self, arguments: dict[str, Any]) -> RunAllModels | RetryFailedModels:
        # Assets are reported by the tasks of the models.
        arguments |= {"manifest_filepath": "", "select": self._selection, "emit_datasets": False}
        # What fails in a model fails its task; this one is tried again where its process was lost.
        arguments |= {"retries": 1, "execution_timeout": self._limit}
        if not self._watched:
            return RetryFailedModels(
                task_id=RETRY_TASK_ID,
                task_display_name=f"{RETRY_TASK_ID}: what failed the last time",
                doc_md="Runs what failed the last time, before all else.",
                **arguments,
            )
        return RunAllModels(
            task_id=RUN_ALL_TASK_ID,
            task_display_name=f"{RUN_ALL_TASK_ID}: dbt, once for all models",
            doc_md="Runs dbt once for all models; the task of each model tells how that model ended.",
            # The names of assets: it finds them for those tasks.
            _should_generate_model_uris=True,
            **arguments,
        )


@contextmanager
def _without_params(dag: DAG) -> Iterator[None]:
    """Keeps Airflow from copying the DAG's params eight times for each model, which is half the time of drawing.

    A task knows the params of its run all the same. Source: ``process_params`` in
    ``airflow/sdk/definitions/param.py``. A plain assignment would check every param against its schema, twice for
    each model.
    """
    kept = dag.params
    object.__setattr__(dag, "params", ParamsDict())
    try:
        yield
    finally:
        object.__setattr__(dag, "params", kept)


def _doc(model: Node) -> str:
    text = model["description"] or f"The dbt model `{model['name']}`."
    tags = ", ".join(f"`{tag}`" for tag in model["tags"])
    return f"{text}\n\nTags: {tags}" if tags else str(text)
