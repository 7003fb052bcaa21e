"""The dbt process of a rebuild, seen from the task that started it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from cht_sync.dbt.launch.environment import advice, to_connect
from cht_sync.dbt.launch.own_process import OwnProcess, ProcessEndedError
from cht_sync.dbt.launch.profile import PROFILE, TARGET, models_password, profile_text
from cht_sync.dbt.launch.sessions import session_name
from cht_sync.dbt.project.manifest import Manifest
from cht_sync.dbt.rebuild.errors import RebuildError, RebuildRefusedError
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.redaction import of_text, without_secrets
from cht_sync.settings.settings import Settings


class DbtProcess:
    """dbt in a process that ends with this one, however that ends; ``staging`` takes the place of ``target.schema``."""

    def __init__(self, settings: Settings, folder: Path, staging: str) -> None:
        self._settings = settings
        self._folder = folder
        self._staging = staging
        self._environment = to_connect(settings)
        self._secrets = list(models_password(settings).values())
        #: Which batches of microbatch models are built, by unique id.
        self.batches: dict[str, Any] = {}
        #: What hooks and macros do outside of the models, for the swap.
        self.hook_statements: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        self._work = tempfile.TemporaryDirectory(prefix="cht-sync-rebuild-")
        try:
            self._start(Path(self._work.name))
            self._ask("parse", "parse the project", profiles=self._profiles["live"])
        except BaseException as error:
            self.__exit__(error)
            raise
        return self

    def __exit__(self, error: object = None, *_: object) -> None:
        if process := getattr(self, "_process", None):
            # After an error it ends at once, in the middle of a model too.
            process.end(at_once=bool(error))
        self._work.cleanup()

    def modified(self, state: Manifest) -> dict[str, Any]:
        """What differs from another manifest.

        :return: ``modified``, unique ids; or ``unreadable``, why this dbt cannot read that manifest.
        :raises RebuildError: if dbt fails.
        """
        folder = Path(self._work.name, "state")
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(state))
        return self._ask("modified", "compare the project", profiles=self._profiles["live"], state=str(folder))

    def run(self, members: Iterable[str], schemas: Mapping[str, str], full_refresh: bool) -> None:
        """Builds models, by their unique ids, in staging schemas; RebuildError if one of them fails."""
        answer = self._ask(
            "run",
            "build the models in a staging schema",
            profiles=self._profiles["staging"],
            members=sorted(members),
            schemas=dict(schemas),
            full_refresh=full_refresh,
        )
        self.batches |= answer.get("batches", {})
        self.hook_statements += answer.get("waiting") or []

    def _start(self, work: Path) -> None:
        text = profile_text(self._settings)
        staging = yaml.safe_load(text)
        # Macros that write tables of their own ask for target.schema: theirs are staged too.
        staging[PROFILE]["outputs"][TARGET]["schema"] = self._staging
        self._profiles = {name: str(work / name) for name in ("live", "staging")}
        for name, content in (("live", text), ("staging", yaml.safe_dump(staging))):
            (work / name).mkdir()
            (work / name / "profiles.yml").write_text(content)
        (work / "target").mkdir()
        parsed = self._folder / "target" / "partial_parse.msgpack"
        if parsed.is_file():
            shutil.copy(parsed, work / "target")
        where = ["--project-dir", str(self._folder), "--target-path", str(work / "target")]
        where += ["--profile", PROFILE, "--target", TARGET]
        self._process = OwnProcess(
            "cht_sync.dbt.subprocess.rebuild",
            {**self._environment, "DBT_LOG_PATH": str(work / "logs")},
            self._folder,
            [json.dumps(where), session_name(self._staging)],
            self._secrets,
        )

    def _ask(self, command: str, doing: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._process.ask(command, **arguments)
        except ProcessEndedError as error:
            raise RebuildError(
                f"{error} while it was to {doing}: nothing was changed, the next deployment tries again."
            ) from None
        if not answer["success"]:
            failed = [one for one in answer["results"] or () if one["status"] in FAILED]
            why = [f"{one['node']['unique_id'].rpartition('.')[2]}: {of_text(one['message'] or '')}" for one in failed]
            why = why or [of_text(answer["exception"]) or "it says nothing more than its log"]
            said = without_secrets("; ".join(why)[:2000], self._secrets)
            raise RebuildRefusedError(f"dbt could not {doing}, nothing was changed: {said}{advice(said)}")
        return answer
