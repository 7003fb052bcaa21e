"""docs/reference-dags.md, from the DAG files."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

HEAD = """# DAGs and their Params

Made by `make reference` from `dags/`: change it there. Schedules and time-outs are those of the defaults. The
page of each DAG in Airflow says more.
"""
# What makes those DAGs exist that are not there by default.
OPTIONAL = {
    "CHT_MODELS": "asset",
    "CHT_ALERT_EMAIL": "somebody@example.org",
    "CHT_REPORT_DIR": "/reports",
    "CHT_SNAPSHOTS_SCHEDULE": "@daily",
}


def dags_page(folder: Path) -> str:
    """The page.

    :param folder: of the DAG files; the environment has to be that of the defaults.
    """
    lines = [HEAD]
    for file in sorted(folder.glob("*_dag.py")):
        dag, only = runpy.run_path(str(file)).get("dag"), ""
        if dag is None:
            dag, only = _optional(file)
        lines.append(f"\n## {dag.dag_id}\n\n{dag.description}\n")
        lines.append(f"* file: `{file.relative_to(folder.parent)}`{only}")
        lines.append(f"* schedule: {_schedule(dag.timetable)}")
        minutes = dag.dagrun_timeout.total_seconds() / 60 if dag.dagrun_timeout else None
        lines.append(f"* ends after: {f'{minutes:.0f} minutes' if minutes else 'no limit of its own'}")
        if dag.params:
            lines += ["", "| Param | type | default | |", "|---|---|---|---|"]
            lines += [_param(name, dag.params.get_param(name)) for name in dag.params]
    return "\n".join(lines) + "\n"


def _optional(file: Path) -> tuple[Any, str]:
    for name, value in OPTIONAL.items():
        os.environ[name] = value
        try:
            dag = runpy.run_path(str(file)).get("dag")
        finally:
            del os.environ[name]
        if dag is not None:
            return dag, f", where `{name}` is {'set' if value.startswith('/') else f'`{value}`'}"
    raise LookupError(f"{file.name} makes no DAG: add what it needs to OPTIONAL.")


def _schedule(timetable: Any) -> str:
    within = getattr(timetable, "timetable", None)
    if within is not None:
        return f"when its assets change, and `{within.expression}`"
    expression = getattr(timetable, "expression", None) or getattr(timetable, "_expression", None)
    return f"`{expression}`" if expression else type(timetable).__name__


def _param(name: str, param: Any) -> str:
    kind = param.schema.get("type", "")
    default = (
        ""
        if param.value in (None, "")
        else f"`{str(param.value).lower() if param.value in (True, False) else param.value}`"
    )
    kinds = " or ".join(kind) if isinstance(kind, list) else kind
    said = " ".join((param.description or "").split()).replace("|", "\\|")
    return f"| `{name}` | {kinds} | {default} | {said} |".replace("|  |", "| |")
