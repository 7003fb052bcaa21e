"""Draws the snapshots of the installed dbt project as a task."""

from __future__ import annotations

import logging
from datetime import timedelta

from cht_sync.dbt.operators.take_snapshots import TakeSnapshots
from cht_sync.dbt.project.version import require_current
from cht_sync.dbt.render import cosmos_defaults
from cht_sync.dbt.render.models_group import dbt_arguments, read_graph, refusal
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def has_snapshots(settings: Settings) -> bool:
    """Whether the installed project has snapshots. Reads local files only."""
    try:
        return bool(read_graph(require_current(settings)).get("snapshots"))
    except SettingsError as error:
        log.info("No snapshots are known of: %s", error)
        return False


def draw_snapshots(settings: Settings) -> None:
    """One task that takes all snapshots; used inside a DAG."""
    cosmos_defaults.apply()
    try:
        deployment = require_current(settings)
        arguments = dbt_arguments(settings, deployment)
    except SettingsError as error:
        refusal("snapshots", str(error))
        return
    TakeSnapshots(
        task_id="snapshots",
        task_display_name="snapshots: dbt, once for all",
        doc_md=TakeSnapshots.__doc__,
        **{**arguments, "retry_delay": timedelta(minutes=5)},
    )
