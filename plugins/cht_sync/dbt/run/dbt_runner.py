"""Several runs of dbt on one project, in one process, which parse it once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

from cht_sync.dbt.launch.outcome import Outcome, as_object, ask, own_process
from cht_sync.dbt.launch.own_process import OnEvent, OwnProcess
from cht_sync.dbt.project.lineage import Lineage
from cht_sync.dbt.run.ending import raise_if_ending

_OF_PARSE = {"--project-dir", "--profiles-dir", "--profile", "--target", "--vars"}
_OURS = {"--select", "--exclude", "--vars"}


class DbtRunner:
    """Runs ``dbt run``, in the command that Cosmos has made, again and again with other models or variables."""

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: str) -> None:
        place = command.index("run")
        self._global, options = command[1:place], command[place + 1 :]
        self._env, self._cwd = env, cwd
        self._kept = _options(options, lambda name: name not in _OURS)
        self._for_parse = _options(options, lambda name: name in _OF_PARSE - {"--vars"})
        self.variables: dict[str, Any] = yaml.safe_load(_value(options, "--vars") or "{}") or {}
        self.select = _value(options, "--select")
        self._process: OwnProcess | None = None
        self.lineage = Lineage({}, {}, {}, {})
        self._compiled: dict[str, str] = {}

    def parse(self) -> Outcome | None:
        """Reads the project; returns dbt's result where it cannot be read."""
        # Nobody reads this manifest.json; to write it takes longer than to read what has not changed.
        arguments = [*self._global, "--no-write-json", "parse", *self._for_parse, *self._with_variables(self.variables)]
        outcome = self._ask("parse", arguments)
        if not outcome.success or outcome.lineage is None:
            return outcome
        self.lineage = outcome.lineage
        return None

    @property
    def is_alive(self) -> bool:
        """Whether its process can run more."""
        return self._process is not None and not self._process.ended

    def take(self, other: DbtRunner) -> None:
        """Takes over what another of the same project and variables has parsed, with its process."""
        self._process, self.lineage = other._process, other.lineage
        other._process = None

    def handed_over(self) -> DbtRunner:
        """Another of the same command, which has taken over."""
        other = copy.copy(self)
        self._process = None
        return other

    def close(self) -> None:
        """Ends dbt's process, in the middle of a model too."""
        if self._process:
            self._process.end(at_once=True)
            self._process = None

    def compiled(self, model: str) -> str:
        """The SQL that dbt made of a model that failed in the newest run; empty where it came not so far."""
        return self._compiled.get(model, "")

    def run(
        self,
        callback: Callable[[Any], None] | None = None,
        select: str | None = None,
        *,
        exclude: str = "",
        variables: Mapping[str, Any] | None = None,
        prerequisites: Collection[str] = (),
        batches: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Runs models.

        :param callback: is given dbt's event of each model that has ended.
        :param select: which; default those of the command.
        :param variables: of dbt, in place of those of the command with the same name.
        :param prerequisites: what selects seeds and snapshots that are to be made too, in their order with the models.
        :param batches: which batches of microbatch models are built, by unique id.
        """
        chosen, command = self.select if select is None else select, ["run"]
        if prerequisites:
            chosen = " ".join([chosen or "resource_type:model", *prerequisites])
            # `dbt run` knows models only. Source: https://docs.getdbt.com/reference/commands/build
            command = ["build", *(f"--resource-type={kind}" for kind in ("model", "seed", "snapshot"))]
        arguments = [
            *self._global,
            *command,
            *(["--select", chosen] if chosen else []),
            *(["--exclude", exclude] if exclude else []),
            *self._kept,
            *self._with_variables({**self.variables, **(variables or {})}),
        ]

        def on_event(event: dict[str, Any]) -> None:
            self._compiled[event["data"]["node_info"]["unique_id"]] = event.pop("compiled")
            if callback:
                callback(as_object(event))

        return self._ask("run", arguments, on_event, batches=dict(batches or {}))

    def _ask(self, command: str, arguments: list[str], on_event: OnEvent | None = None, **more: Any) -> Outcome:
        self._process = self._process or own_process(self._env)
        call = {"arguments": arguments, "environment": dict(self._env), "folder": str(self._cwd), **more}
        outcome = ask(self._process, command, on_event, **call)
        raise_if_ending()
        return outcome

    @staticmethod
    def _with_variables(variables: Mapping[str, Any]) -> list[str]:
        return ["--vars", yaml.safe_dump(dict(variables))] if variables else []


def _value(options: list[str], name: str) -> str | None:
    return options[options.index(name) + 1] if name in options else None


def _options(options: list[str], wanted: Callable[[str], bool]) -> list[str]:
    """Those options of a command, with their values, whose names are wanted."""
    kept: list[str] = []
    name = ""
    for part in options:
        name = part if part.startswith("--") else name
        if wanted(name):
            kept.append(part)
    return kept
