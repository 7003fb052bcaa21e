"""What dbt takes from the root project alone: the wrapper, which is dbt's root, says it in the place of the project."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cht_sync.dbt.project.lineage import STARTER_PACKAGE
from cht_sync.dbt.project.manifest import Manifest, reachable
from cht_sync.dbt.project.missing_packages import DBT_PACKAGES
from cht_sync.dbt.project.packages import PROJECT_FILE, installed_packages, mapping, read_yaml, small_text
from cht_sync.dbt.project.source import Source
from cht_sync.forms.names import FORMS_PACKAGE

WRAPPER_NAME = "cht_sync_wrapper"
MACROS = Path("macros", "of_project.sql")
# What packages have of each kind, by its folder and the ends of its files; what has none is told by dbt as unused.
_FILES = {
    "models": ("model-paths", "models", (".sql", ".py")),
    "seeds": ("seed-paths", "seeds", (".csv",)),
    "snapshots": ("snapshot-paths", "snapshots", (".sql", ".yml", ".yaml")),
    "data_tests": ("model-paths", "models", (".yml", ".yaml")),
    "tests": ("model-paths", "models", (".yml", ".yaml")),
    "sources": ("model-paths", "models", (".yml", ".yaml")),
}
_KINDS = (*_FILES, "unit_tests", "exposures", "metrics", "semantic-models", "saved-queries")
# How dbt puts two settings of one resource together.
# Source: ``NodeConfig`` in ``dbt/artifacts/resources/v1/config.py``
_ADDED = {"tags", "pre-hook", "post-hook", "packages"}
_MERGED = {"meta", "persist-docs", "quoting", "column-types", "docs", "contract"}
# The starter's models keep how they are built, in which schema and with which hooks: nothing is lost because of that.
_STARTER_MAY = {"tags", "meta", "docs", "grants", "group", "persist-docs", "enabled"}
_FLAGS = re.compile(r"require_|skip_nodes_if|source_freshness_run|state_modified_|validate_macro")
# How dbt ends, and what it selects, is for the tasks to say.
_RUN_FLAGS = {"fail_fast", "full_refresh", "indirect_selection", "store_failures", "warn_error", "warn_error_options"}
_MATERIALIZATION = "materialization_"
_DEFINED = re.compile(r"\{%-?\s*macro\s+(?P<name>\w+)\s*\((?P<text>.*?)\{%-?\s*endmacro", re.S)
_CALLED = re.compile(r"(?<![\w.])(\w+)\s*\(")
_MACRO = """
{{% macro generate_{component}_name(custom_{component}_name=none, node=none) -%}}
  {{%- if node and node.package_name == '{starter}' -%}}
    {{{{ return(dbt.default__generate_{component}_name(custom_{component}_name, node)) }}}}
  {{%- endif -%}}
  {{{{ return({project}.generate_{component}_name(custom_{component}_name, node)) }}}}
{{%- endmacro %}}
"""
_HELPER = """
{{% macro {name}() -%}}{{{{ return({project}.{name}(*varargs, **kwargs)) }}}}{{%- endmacro %}}
"""


@dataclass(frozen=True, slots=True)
class RootSettings:
    """What the wrapper says in the place of a project, in its ``dbt_project.yml`` and in a file of macros."""

    settings: dict[str, Any] = field(default_factory=dict)
    macros: str = ""

    def write(self, folder: Path) -> None:
        """Writes them into the wrapper project of a version."""
        file = folder / PROJECT_FILE
        wrapper = yaml.safe_load(file.read_text())
        wrapper["flags"] = {**self.settings.get("flags", {}), **wrapper.get("flags", {})}
        wrapper = {**{name: value for name, value in self.settings.items() if name != "flags"}, **wrapper}
        file.write_text(yaml.safe_dump(wrapper, sort_keys=False))
        if self.macros:
            (folder / MACROS).write_text(self.macros)


def root_settings(source: Source, folder: Path) -> RootSettings:
    """Reads what dbt would take from a project, were it the root itself, for its packages, once ``dbt deps`` has run.

    Where both say something, the wrapper's own comes first: its hooks, its macros of dbt, its profile and folders. The
    project's own models get from it what they get from the project itself.
    Source: https://docs.getdbt.com/docs/build/packages, https://docs.getdbt.com/reference/dbt-jinja-functions/dispatch
    """
    project = read_yaml(source, folder / "project" / PROJECT_FILE)
    own = str(project.get("name", ""))
    packages = {
        str(read_yaml(source, path / PROJECT_FILE).get("name", path.name)): path for path in installed_packages(folder)
    }
    others = {name: path for name, path in packages.items() if name not in {own, WRAPPER_NAME, FORMS_PACKAGE}}
    if own == STARTER_PACKAGE or not own.isidentifier():
        return RootSettings()
    found = {kind: _for_packages(source, project, kind, others) for kind in _KINDS}
    settings: dict[str, Any] = {kind: said for kind, said in found.items() if said}
    if variables := mapping(project.get("vars")):
        settings["vars"] = variables
    if dispatch := _dispatch(project, own, others):
        settings["dispatch"] = dispatch
    if taken := {name: value for name, value in mapping(project.get("flags")).items() if _FLAGS.match(str(name))}:
        settings["flags"] = taken
    return RootSettings(settings, _macros(source, folder / "project", project, own) if others else "")


def ignored_settings(project: dict[str, Any], manifest: Manifest, refused: str = "") -> str:
    """A sentence where something that a project says for all packages does not count; else nothing.

    :param refused: why dbt did not take what the wrapper said for it; empty where it did.
    """
    own = project.get("name")
    theirs = {one["package_name"] for one in manifest["nodes"].values()} - {
        own,
        WRAPPER_NAME,
        FORMS_PACKAGE,
        *DBT_PACKAGES,
    }
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


def _is_setting(name: object, value: object) -> bool:
    """Whether dbt takes an entry of ``models`` and the like for a setting, and not for a folder or package."""
    return str(name).startswith("+") or not isinstance(value, dict)


def _setting_name(name: object) -> str:
    """A setting's name, however it is written."""
    return str(name).removeprefix("+").strip().replace("_", "-")


def _for_packages(source: Source, project: dict[str, Any], kind: str, packages: dict[str, Path]) -> dict[str, Any]:
    said = mapping(project.get(kind))
    for_all = {name: value for name, value in said.items() if _is_setting(name, value)}
    result: dict[str, Any] = {}
    for name, path in packages.items():
        theirs = mapping(said.get(name))
        level = _together(for_all, theirs) if for_all and _has(source, path, kind) else theirs
        if name == STARTER_PACKAGE:
            level = _allowed(level)
        if level:
            result[name] = level
    return result


def _has(source: Source, package: Path, kind: str) -> bool:
    if kind not in _FILES:
        return False
    setting, usual, ends = _FILES[kind]
    project = read_yaml(source, package / PROJECT_FILE)
    paths = project.get(setting, project.get(setting.replace("-", "_"), [usual]))
    folders = [package / str(one) for one in (paths if isinstance(paths, list) else [paths])]
    return any(file.suffix in ends for each in folders if each.is_dir() for file in each.rglob("*"))


def _together(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """One level of settings for two, as dbt would apply them one after the other."""
    result = {name: value for name, value in below.items() if not _is_setting(name, value)}
    for name, value in [*above.items(), *((k, v) for k, v in below.items() if _is_setting(k, v))]:
        plain = _setting_name(name)
        key = f"+{plain if plain.endswith('-hook') else plain.replace('-', '_')}"
        result[key] = _merged(plain, result[key], value) if key in result else value
    return result


def _merged(name: str, first: Any, second: Any) -> Any:
    if name in _ADDED:
        return [*(first if isinstance(first, list) else [first]), *(second if isinstance(second, list) else [second])]
    if name in _MERGED and isinstance(first, dict) and isinstance(second, dict):
        return {**first, **second}
    if name == "grants" and isinstance(first, dict) and isinstance(second, dict):
        result = dict(first)
        for key, value in second.items():
            known = next((one for one in (key, str(key).lstrip("+")) if one in result), None)
            added = str(key).startswith("+") and known is not None
            result[known if added else key] = _merged("tags", result[known], value) if added else value
        return result
    return second


def _allowed(level: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in level.items():
        if not _is_setting(name, value):
            if within := _allowed(value):
                result[name] = within
        elif _setting_name(name) in _STARTER_MAY:
            result[name] = value
    return result


def _dispatch(project: dict[str, Any], own: str, packages: Collection[str]) -> list[dict[str, Any]]:
    """Where macros are looked for: dbt would begin with the project, where it says nothing else."""
    said = project.get("dispatch")
    found = {
        str(one.get("macro_namespace")): [str(name) for name in one.get("search_order") or ()]
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, dict)
    }
    orders = {name: [own, name] for name in sorted(packages)} | {"dbt": [own, "dbt"]} | found
    # What the wrapper says of dbt's own macros keeps rows: it comes first.
    orders["dbt"] = [WRAPPER_NAME, *orders["dbt"]]
    return [{"macro_namespace": name, "search_order": order} for name, order in orders.items()]


def _macros(source: Source, folder: Path, project: dict[str, Any], own: str) -> str:
    """Macros that hand on to those of the project which give relations their names, and to what these call."""
    defined = dict(_defined(source, folder, project))
    naming = {
        f"generate_{part}_name": _MACRO.format(component=part, project=own, starter=STARTER_PACKAGE)
        for part in ("schema", "database", "alias")
    }
    texts = [text for name, text in naming.items() if name in defined]
    # Called without its project a macro is looked for in the root project alone, as this is where it begins.
    called = {name: defined.keys() & _CALLED.findall(text) for name, text in defined.items()}
    reached = set(reachable(naming.keys() & called.keys(), called))
    return "".join([*texts, *(_HELPER.format(name=name, project=own) for name in sorted(reached - set(naming)))])


def _defined(source: Source, folder: Path, project: dict[str, Any]) -> Iterator[tuple[str, str]]:
    paths = project.get("macro-paths", project.get("macro_paths", ["macros"]))
    for path in paths if isinstance(paths, list) else [paths]:
        for file in sorted((folder / str(path)).rglob("*.sql")):
            text = small_text(source, file).decode(errors="replace")
            yield from ((found["name"], found["text"]) for found in _DEFINED.finditer(text))


def _said(project: dict[str, Any], upon_starter: bool) -> Iterator[str]:
    for kind in _KINDS if upon_starter else ():
        yield from _kept(mapping(mapping(project.get(kind)).get(STARTER_PACKAGE)), f"{kind}.{STARTER_PACKAGE}")
    yield from (f"flags.{name}" for name in sorted(_RUN_FLAGS & set(mapping(project.get("flags")))))
    if False in mapping(project.get("quoting")).values():
        yield "quoting"
    if project.get("query-comment"):
        yield "query-comment"


def _kept(level: dict[str, Any], path: str) -> Iterator[str]:
    """What the starter says itself, whatever the project says."""
    for name, value in level.items():
        if not _is_setting(name, value):
            yield from _kept(value, f"{path}.{name}")
        elif _setting_name(name) not in _STARTER_MAY:
            yield f"{path}.{name}"


def _replaced(own: str, manifest: Manifest) -> Iterator[str]:
    """Materializations of dbt's that a project has put another one in place of: dbt takes that from a root alone."""
    macros = manifest["macros"].values()
    of_dbt = {one["name"].rpartition("_")[0] for one in macros if one["package_name"] in DBT_PACKAGES}
    for name in sorted(one["name"] for one in macros if one["package_name"] == own):
        if name.startswith(_MATERIALIZATION) and name.rpartition("_")[0] in of_dbt:
            yield f"macro {name}"
