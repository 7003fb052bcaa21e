"""What dbt says that parts of ``DBT_SELECTOR`` mean, kept with a version for whoever has no dbt at hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from cht_sync.dbt.launch.dbt_command import DbtProgram
from cht_sync.dbt.project.graph import Graph
from cht_sync.dbt.project.selection import selected, unresolved
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.version import Deployment
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
SELECTIONS_FILE = "selections.json"


def with_selections(graph: Graph, folder: Path) -> Graph:
    """A graph with what dbt has said of its models."""
    try:
        return {**graph, "selections": json.loads((folder / SELECTIONS_FILE).read_text())}
    except (OSError, ValueError):
        return graph


def settle(source: Source, deployment: Deployment, settings: Settings) -> None:
    """Lets dbt resolve what of ``DBT_SELECTOR`` only dbt can, and refuses what cannot be run.

    :raises SettingsError: if dbt does not take an expression, with its words; or if a model that is to run is written
        in Python.
    """
    graph = with_selections(json.loads(deployment.graph.read_text()), deployment.path)
    atoms = sorted({atom for one in settings.dbt_selectors for atom in unresolved(graph, one)})
    if atoms:
        found = DbtProgram(source, deployment.path, settings).select(atoms)
        for atom, models in found.items():
            if isinstance(models, str):
                wanted = settings.text("DBT_SELECTOR")
                raise SettingsError(
                    f"DBT_SELECTOR={wanted!r} cannot be used because of {atom!r}: dbt says: {models}", "DBT_SELECTOR"
                )
            log.info("%s of DBT_SELECTOR means %d models, as dbt says.", atom, len(models))
        graph["selections"] = {**graph.get("selections", {}), **found}
        part = deployment.path / f".{SELECTIONS_FILE}"
        part.write_text(json.dumps(graph["selections"], indent=1, sort_keys=True) + "\n")
        part.replace(deployment.path / SELECTIONS_FILE)
    # Source: https://docs.getdbt.com/docs/build/python-models#supported-data-platforms
    python = graph.get("python", {})
    chosen = {name for one in settings.dbt_selectors or [""] for name in selected(graph, one)} if python else set()
    for name in sorted(chosen & set(python)):
        raise SettingsError(
            f"{source.text} cannot be used: model {graph['nodes'][name]['name']} ({python[name]}) is written in Python,"
            " and Python models do not run on PostgreSQL: write it in SQL, disable it by `enabled: false`, or leave it"
            " out of DBT_SELECTOR."
        )
