"""The dbt project that is installed, read from local files only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cht_sync.errors import SettingsError
from cht_sync.pipeline.content import content_hash
from cht_sync.pipeline.source import STARTER, configured_source
from cht_sync.settings import REPOSITORY, Settings

CURRENT = "current"
INSTALL = "run `python -m cht_sync pipeline` (or `make pipeline`)"
RECORD_FILE = "deployment.json"
GRAPH_FILE = "graph.json"
WRAPPER = REPOSITORY / "include" / "dbt" / "wrapper"
STARTER_GRAPH = REPOSITORY / "include" / "dbt" / "starter_manifest.json"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One installed version of a dbt project.

    :param path: folder of the wrapper project, where dbt runs.
    :param graph: file with the models to draw, in the form of dbt's manifest.
    :param source: where it came from, without credentials.
    :param fingerprint: of the source.
    :param revision: commit, or a hash of the files.
    :param build: hash of the settings and versions it was built with.
    :param installed_at: ISO 8601, UTC.
    :param dbt_version: of dbt-core.
    :param models: number of models.
    :param stand_ins: hub packages that were replaced by empty ones.
    :param installed: False for the starter as it is in the repository, which installs itself with the first run.
    """

    path: Path
    graph: Path
    source: str
    fingerprint: str
    revision: str = ""
    build: str = ""
    installed_at: str = ""
    dbt_version: str = ""
    models: int = 0
    stand_ins: list[str] = field(default_factory=list)
    installed: bool = True

    def save(self) -> None:
        """Writes the record into the folder of the version, without paths."""
        record = {name: value for name, value in asdict(self).items() if name not in {"path", "graph", "installed"}}
        (self.path / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Reads a version.

        :param path: its folder.
        :raises SettingsError: if its record cannot be read.
        """
        try:
            record = json.loads((path / RECORD_FILE).read_text())
            return cls(path=path, graph=path / GRAPH_FILE, **record)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"The installed dbt project in {path} cannot be read ({type(error).__name__}): {INSTALL}."
            ) from None


def installed(settings: Settings) -> Deployment | None:
    """What the link ``current`` points to, or None.

    :param settings: the environment.
    :raises SettingsError: if it cannot be read.
    """
    link = settings.pipeline_dir / CURRENT
    return Deployment.load(link.resolve()) if link.is_symlink() else None


def current(settings: Settings) -> Deployment | None:
    """The project to draw now; None if it is still to be installed.

    The starter needs no installation: it is drawn from a file of the repository, and installs itself with the
    first task that runs dbt, so that an upgrade of the repository upgrades it too.

    :param settings: the environment.
    :raises SettingsError: if the source is no usable value, or the installed version cannot be read.
    """
    source = configured_source(settings)
    if source.kind == "starter":
        return Deployment(WRAPPER, STARTER_GRAPH, source.text, source.fingerprint, installed=False)
    return installed(settings)


def require_current(settings: Settings) -> Deployment:
    """The project to draw now, when it is the one that the settings name.

    :param settings: the environment.
    :raises SettingsError: if none is installed, or another one; its text says what to do.
    """
    source, found = configured_source(settings), current(settings)
    if found is None:
        raise SettingsError(
            f"No dbt project is installed in {settings.pipeline_dir}, and the settings name {source.text}: {INSTALL}."
        )
    if found.fingerprint != source.fingerprint:
        raise SettingsError(
            f"The dbt project installed in {settings.pipeline_dir} is {found.source}, but the settings name"
            f" {source.text}: {INSTALL}."
        )
    return found


def expected_version(settings: Settings) -> str:
    """What tells the models that the next run builds from those that an earlier run built.

    :param settings: the environment.
    :raises SettingsError: if another project is to be installed first.
    """
    found = require_current(settings)
    return f"{found.fingerprint}-{found.revision or content_hash(STARTER)}"
