"""Turns a fetched dbt project into one that dbt can run: wrapper, packages, manifest."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cht_sync.dbt.launch.dbt_command import DbtProgram
from cht_sync.dbt.launch.environment import told_of_defaults
from cht_sync.dbt.project.content import wrapper_files
from cht_sync.dbt.project.graph import drawable
from cht_sync.dbt.project.hub import StandInHub, hub_answers, hub_url
from cht_sync.dbt.project.manifest import storable_json
from cht_sync.dbt.project.missing_packages import first_use
from cht_sync.dbt.project.packages import (
    INSTALLED,
    PACKAGE_FILES,
    PROJECT_FILE,
    model_names,
    read_yaml,
    require_sound,
    settle_local_packages,
    small_text,
)
from cht_sync.dbt.project.root_settings import MACROS, ignored_settings, root_settings
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.version import GRAPH_FILE, MANIFEST_FILE
from cht_sync.errors import SettingsError
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.names import FORMS_PACKAGE
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

UNKNOWN_PACKAGE = re.compile(r"Package (\S+/\S+) was not found in the package index")


def build(source: Source, folder: Path, settings: Settings, forms: FormModels | None = None) -> tuple[int, list[str]]:
    """Completes a folder that holds a package in ``project/``.

    :param forms: models of forms, which become a package beside the project.
    :return: the number of models, and the hub packages that were replaced by empty ones.
    :raises SettingsError: if dbt cannot resolve or parse it, or a model needs a package that is missing.
    """
    for path, content in wrapper_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (folder / "packages.yml").write_text("packages:\n  - local: project\n")
    settle_local_packages(source, folder)
    _lift_selectors(source, folder)
    dbt = DbtProgram(source, folder, settings)
    stand_ins = _resolve_packages(dbt, source, folder)
    require_sound(source, folder)
    if forms:
        forms.write(folder / INSTALLED / FORMS_PACKAGE, model_names(source, folder))
    refused = _parse(dbt, source, folder)
    if told := told_of_defaults(folder, settings):
        log.warning("%s", told)
    text = storable_json((folder / "target" / "manifest.json").read_text())
    manifest = json.loads(text)
    if use := first_use(manifest, [name.rpartition("/")[2] for name in stand_ins]):
        node, package = use
        raise source.refusal(
            f"{node} needs the package {package} from the dbt hub, which cannot be reached; let this machine reach it,"
            " or set DBT_PACKAGE_HUB_URL to a mirror"
        )
    if told := ignored_settings(read_yaml(source, folder / "project" / PROJECT_FILE), manifest, refused):
        log.warning("%s", told)
    # dbt writes the one in target/ again with each run.
    (folder / MANIFEST_FILE).write_text(text)
    graph = drawable(manifest)
    (folder / GRAPH_FILE).write_text(json.dumps(graph, indent=1, sort_keys=True) + "\n")
    return len(graph["nodes"]), stand_ins


def _parse(dbt: DbtProgram, source: Source, folder: Path) -> str:
    """Parses with all that the project says for its packages; without it where dbt refuses that, and tells why."""
    plain = (folder / PROJECT_FILE).read_text()
    root_settings(source, folder).write(folder)
    if not (failure := dbt.try_to("parse")):
        return ""
    (folder / PROJECT_FILE).write_text(plain)
    (folder / MACROS).unlink(missing_ok=True)
    dbt.run("parse")
    return dbt.said("parse", failure)


def _lift_selectors(source: Source, folder: Path) -> None:
    """dbt reads selectors of the root project only, and ours is the wrapper: the package's go before its own.

    Source: https://docs.getdbt.com/reference/node-selection/yaml-selectors
    """
    target = folder / "selectors.yml"
    own = folder / "project" / "selectors.yml"
    merged = {one["name"]: one for path in (target, own) for one in _selectors(source, path)}
    if merged:
        target.write_text(yaml.safe_dump({"selectors": list(merged.values())}, sort_keys=False))


def _selectors(source: Source, path: Path) -> list[dict[str, Any]]:
    try:
        return list((yaml.safe_load(small_text(source, path)) or {})["selectors"]) if path.is_file() else []
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SettingsError(f"{path.name} of the dbt project cannot be read: {type(error).__name__}.") from None


def _resolve_packages(dbt: DbtProgram, source: Source, folder: Path) -> list[str]:
    """Runs ``dbt deps``; where the hub is out of reach, against a stand-in that gives empty packages."""
    listed = [folder / "project" / name for name in PACKAGE_FILES if (folder / "project" / name).is_file()]
    hub = hub_url()
    if not listed or hub_answers(hub):
        dbt.run("deps")
        return []
    with StandInHub({name for path in listed for name in _hub_names(source, path)}) as stand_in:
        # Packages of packages come to light one after the other.
        while True:
            failure = dbt.try_to("deps", DBT_PACKAGE_HUB_URL=stand_in.url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
            unknown = set(UNKNOWN_PACKAGE.findall(failure or "")) - stand_in.names
            if not unknown:
                break
            stand_in.names |= unknown
        if failure:
            dbt.refuse("deps", failure)
        names = sorted(stand_in.names)
    if names:
        log.warning(
            "The dbt hub %s cannot be reached: %s replaced by empty stand-ins, which is fine as long as no model"
            " uses them; that is checked now.",
            hub,
            " and ".join(names) + (" is" if len(names) == 1 else " are"),
        )
    return names


def _hub_names(source: Source, path: Path) -> Iterator[str]:
    # dbt has a better message for a broken file, and reads it next.
    packages = read_yaml(source, path).get("packages")
    for entry in packages if isinstance(packages, list) else []:
        if isinstance(entry, dict) and "package" in entry:
            yield str(entry["package"])
