"""What a project says for the packages that it names, and dbt takes from the root project alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cht_sync.pipeline.proof import DBT_PACKAGES, Manifest

# The wrapper is the root, as the one of CHT Sync 2.x was.
_RESOURCES = ("models", "seeds", "snapshots")
_NAMES = ("generate_alias_name", "generate_database_name", "generate_schema_name")


def told_of_root(project: dict[str, Any], manifest: Manifest) -> str:
    """A sentence where packages of a project would get more of it, were it the root itself; else nothing.

    Source: https://docs.getdbt.com/docs/build/packages, https://docs.getdbt.com/reference/dbt-jinja-functions/dispatch

    :param project: its ``dbt_project.yml``.
    :param manifest: of the version.
    """
    own, root = project.get("name"), manifest["metadata"]["project_name"]
    nodes = [one for one in manifest["nodes"].values() if one["resource_type"] != "operation"]
    theirs = {one["package_name"] for one in [*nodes, *manifest["macros"].values()]} - {own, root, *DBT_PACKAGES}
    with_nodes = theirs & {one["package_name"] for one in nodes}
    said = [*_said(project, theirs, bool(with_nodes))]
    if with_nodes:
        said += [f"macro {name}" for name in _NAMES if f"macro.{own}.{name}" in manifest["macros"]]
    if not said:
        return ""
    return (
        f"The packages of this project ({', '.join(sorted(theirs))}) do not get what dbt takes from the root project"
        f" alone, which here is ours: {', '.join(said)}. Say it in the packages themselves, or make their models"
        " models of the project."
    )


def _said(project: dict[str, Any], theirs: set[str], with_nodes: bool) -> Iterator[str]:
    if project.get("dispatch") and theirs:
        yield "dispatch"
    for kind in _RESOURCES if with_nodes else ():
        found = project.get(kind)
        # What has a plus and stands above all names of projects is for every one.
        names = sorted(map(str, found)) if isinstance(found, dict) else []
        yield from (f"{kind}.{name}" for name in names if name in theirs or name.startswith("+"))
    found = project.get("vars")
    yield from (f"vars.{name}" for name in sorted(map(str, found)) if name in theirs) if isinstance(found, dict) else ()
