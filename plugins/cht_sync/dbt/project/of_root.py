"""What dbt takes from the root project alone and does not get from a project, although the wrapper speaks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cht_sync.dbt.project.kept import STARTER_PACKAGE
from cht_sync.dbt.project.manifest import Manifest
from cht_sync.dbt.project.missing_packages import DBT_PACKAGES
from cht_sync.dbt.project.root_settings import KINDS, STARTER_MAY, WRAPPER_NAME, is_setting, setting_name

# How dbt ends, and what it selects, is for the tasks to say.
_FLAGS = {"fail_fast", "full_refresh", "indirect_selection", "store_failures", "warn_error", "warn_error_options"}
_MATERIALIZATION = "materialization_"


def told_of_root(project: dict[str, Any], manifest: Manifest, refused: str = "") -> str:
    """A sentence where something that a project says for all packages does not count; else nothing.

    :param refused: why dbt did not take what the wrapper said for it; empty where it did.
    """
    own = project.get("name")
    theirs = {one["package_name"] for one in manifest["nodes"].values()} - {own, WRAPPER_NAME, *DBT_PACKAGES}
    if refused and theirs:
        return (
            f"The packages of this project ({', '.join(sorted(theirs))}) do not get what it says for them: dbt takes"
            f" that from the root project alone, which here is ours, and refuses it there: {refused}"
        )
    said = [*_said(project, STARTER_PACKAGE in theirs), *_replaced(str(own), manifest)]
    if not said:
        return ""
    return (
        "dbt takes some settings from the root project alone, which here is ours, and of this project these do not"
        f" count: {', '.join(said)}."
    )


def _said(project: dict[str, Any], upon_starter: bool) -> Iterator[str]:
    for kind in KINDS if upon_starter else ():
        found = project.get(kind)
        level = found.get(STARTER_PACKAGE) if isinstance(found, dict) else None
        yield from _kept(level, f"{kind}.{STARTER_PACKAGE}") if isinstance(level, dict) else ()
    flags = project.get("flags")
    yield from (f"flags.{name}" for name in sorted(_FLAGS & set(flags))) if isinstance(flags, dict) else ()
    quoting = project.get("quoting")
    if isinstance(quoting, dict) and False in quoting.values():
        yield "quoting"
    if project.get("query-comment"):
        yield "query-comment"


def _kept(level: dict[str, Any], path: str) -> Iterator[str]:
    """What the starter says itself, whatever the project says."""
    for name, value in level.items():
        if not is_setting(name, value):
            yield from _kept(value, f"{path}.{name}")
        elif setting_name(name) not in STARTER_MAY:
            yield f"{path}.{name}"


def _replaced(own: str, manifest: Manifest) -> Iterator[str]:
    """Materializations of dbt's that a project has put another one in place of: dbt takes that from a root alone."""
    macros = manifest["macros"].values()
    of_dbt = {one["name"].rpartition("_")[0] for one in macros if one["package_name"] in DBT_PACKAGES}
    for name in sorted(one["name"] for one in macros if one["package_name"] == own):
        if name.startswith(_MATERIALIZATION) and name.rpartition("_")[0] in of_dbt:
            yield f"macro {name}"
