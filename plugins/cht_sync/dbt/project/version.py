"""The dbt project that is installed, read from local files only."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cht_sync.dbt.project.content import WRAPPER, build_key, content_hash
from cht_sync.dbt.project.source import STARTER, configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import REPOSITORY, Settings

log = logging.getLogger(__name__)
CURRENT = "current"
VERSIONS = "versions"
INSTALL = "unpause the DAG cht_pipeline_deploy, or run `python -m cht_sync pipeline` (or `make pipeline`)"
RECORD_FILE = "deployment.json"
GRAPH_FILE = "graph.json"
MANIFEST_FILE = "manifest.json"
STARTER_GRAPH = REPOSITORY / "include" / "dbt" / "starter_manifest.json"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One installed version of a dbt project.

    :param path: folder of the wrapper project, where dbt runs.
    :param graph: file with the models to draw, in the form of dbt's manifest.
    :param source: where it came from, without credentials.
    :param revision: commit, or a hash of the files.
    :param build: hash of the settings and versions it was built with.
    :param installed_at: ISO 8601, UTC.
    :param stand_ins: hub packages that were replaced by empty ones.
    :param validated: whether every model was compiled against the target.
    :param validator: of a download, what its server tells of the content without sending it.
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
    validated: bool = False
    validator: str = ""
    installed: bool = True

    @property
    def content(self) -> str:
        """What tells this project as it is from another source or another state of it."""
        return f"{self.fingerprint}-{self.revision}"

    @property
    def version(self) -> str:
        """What tells this version from others: source, revision, and what it was built with."""
        return f"{self.content}-{self.build}"

    @property
    def manifest(self) -> Path:
        """dbt's manifest as it was when the version was built; older releases kept no copy of it."""
        own = self.path / MANIFEST_FILE
        return own if own.is_file() else self.path / "target" / MANIFEST_FILE

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.path.name} ({self.source}, {self.revision[:12]}, built {self.installed_at[:19]}Z)"

    def save(self) -> None:
        """Writes the record into the folder of the version, without paths."""
        record = {name: value for name, value in asdict(self).items() if name not in {"path", "graph", "installed"}}
        part = self.path / f".{RECORD_FILE}"
        part.write_text(json.dumps(record, indent=2) + "\n")
        part.replace(self.path / RECORD_FILE)

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Reads a version; a SettingsError if its record cannot be read."""
        try:
            record = json.loads((path / RECORD_FILE).read_text())
            return cls(path=path, graph=path / GRAPH_FILE, **record)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"The installed dbt project in {path} cannot be read ({type(error).__name__}): {INSTALL}."
            ) from None


def installed(settings: Settings) -> Deployment | None:
    """What the link ``current`` points to, or None."""
    link = settings.pipeline_dir / CURRENT
    return Deployment.load(link.resolve()) if link.is_symlink() else None


def is_current(settings: Settings, deployment: Deployment) -> bool:
    """Whether ``current`` points to a version."""
    try:
        found = installed(settings)
    except SettingsError as error:
        log.warning("%s", error)
        return False
    return found is not None and found.path == deployment.path.resolve()


def kept(settings: Settings) -> list[Deployment]:
    """The versions that were built to an end and are still there, the newest first."""
    found = []
    for record in (settings.pipeline_dir / VERSIONS).glob(f"*/{RECORD_FILE}"):
        try:
            found.append(Deployment.load(record.parent))
        except SettingsError as error:
            log.warning("%s", error)
    return sorted(found, key=lambda one: (one.installed_at, one.path.name), reverse=True)


def find(settings: Settings, version: str | None) -> Deployment | None:
    """The newest folder of a version, as :attr:`Deployment.version` has it, or None."""
    return next((one for one in kept(settings) if one.version == version), None)


def current(settings: Settings) -> Deployment | None:
    """The project to draw now; None if it is still to be installed.

    The starter needs no installation: where nothing is installed it is drawn from a file of the repository, and
    installs itself with the first task that runs dbt.
    """
    source, found = configured_source(settings), installed(settings)
    if found or source.kind != "starter":
        return found
    revision, build = content_hash(STARTER), build_key(settings)
    return Deployment(
        WRAPPER, STARTER_GRAPH, source.text, source.fingerprint, revision=revision, build=build, installed=False
    )


def require_current(settings: Settings) -> Deployment:
    """The project to draw now: what is installed, also while the settings name another one that is not deployed yet.

    :raises SettingsError: if none is installed; its text says what to do.
    """
    found = current(settings)
    if found is None:
        raise SettingsError(
            f"No dbt project is installed in {settings.pipeline_dir}, and the settings name"
            f" {configured_source(settings).text}: {INSTALL}."
        )
    return found


def require_configured(settings: Settings) -> Deployment:
    """The same, when it is the project that the settings name.

    :raises SettingsError: if none is installed, or another one; its text says what to do.
    """
    source, found = configured_source(settings), require_current(settings)
    if found.fingerprint != source.fingerprint:
        raise SettingsError(
            f"The dbt project installed in {settings.pipeline_dir} is {found.source}, but the settings name"
            f" {source.text}: {INSTALL}."
        )
    return found
