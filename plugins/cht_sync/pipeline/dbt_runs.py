"""Several runs of dbt on one project, in this process, which parse it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from cht_sync.pipeline.ending import raise_if_ending

_OF_PARSE = {"--project-dir", "--profiles-dir", "--profile", "--target", "--vars"}
_OURS = {"--select", "--exclude", "--vars"}


class DbtRuns:
    """Runs ``dbt run`` again and again with other models or variables.

    Source: https://docs.getdbt.com/reference/programmatic-invocations#reusing-objects

    :param command: as Cosmos has made it: program, options of dbt, ``run`` and its options.
    :param env: variables that dbt runs with.
    :param cwd: folder to run in.
    """

    def __init__(self, command: list[str], env: Mapping[str, str], cwd: str) -> None:
        place = command.index("run")
        self._global, options = command[1:place], command[place + 1 :]
        self._env, self._cwd = env, cwd
        self._kept = _options(options, lambda name: name not in _OURS)
        self._for_parse = _options(options, lambda name: name in _OF_PARSE - {"--vars"})
        self.variables: dict[str, Any] = yaml.safe_load(_value(options, "--vars") or "{}") or {}
        self.select = _value(options, "--select")
        self._parsed: bytes = b""
        self.manifest: Any = None

    def parse(self) -> Any:
        """Reads the project.

        :return: None, or dbt's result where it cannot be read.
        """
        from cosmos.dbt.project import change_working_directory, environ
        from dbt.cli.main import dbtRunner

        # Nobody reads this manifest.json; to write it takes longer than to read what has not changed.
        arguments = [*self._global, "--no-write-json", "parse", *self._for_parse, *self._with_variables(self.variables)]
        with change_working_directory(self._cwd), environ(dict(self._env)):
            done = dbtRunner().invoke(arguments)
        raise_if_ending()
        if not done.success:
            return done
        self.manifest = done.result
        self._parsed = self.manifest.to_msgpack()
        return None

    def take(self, other: DbtRuns) -> None:
        """Uses what another has parsed.

        :param other: of the same project and variables.
        """
        self._parsed, self.manifest = other._parsed, other.manifest

    def compiled(self, model: str) -> str:
        """The SQL that dbt made of a model in the newest run; empty where it came not so far.

        :param model: unique id.
        """
        return getattr(self.manifest.nodes[model], "compiled_code", None) or ""

    def run(
        self,
        callback: Callable[[Any], None] | None = None,
        select: str | None = None,
        exclude: str = "",
        variables: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs models.

        :param callback: is told dbt's events.
        :param select: which; default those of the command.
        :param exclude: which of them not.
        :param variables: of dbt, in place of those of the command with the same name.
        :return: dbt's result.
        """
        from cosmos.dbt.project import change_working_directory, environ
        from dbt.adapters.factory import reset_adapters
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest

        chosen = select if select is not None else self.select
        arguments = [
            *self._global,
            "run",
            *(["--select", chosen] if chosen else []),
            *(["--exclude", exclude] if exclude else []),
            *self._kept,
            *self._with_variables({**self.variables, **(variables or {})}),
        ]
        # A run writes into its manifest, what it has compiled among others.
        self.manifest = Manifest.from_msgpack(self._parsed)
        callbacks = [callback] if callback else None
        with change_working_directory(self._cwd), environ(dict(self._env)):
            try:
                result = dbtRunner(manifest=self.manifest, callbacks=callbacks).invoke(arguments)
                raise_if_ending()
                return result
            finally:
                reset_adapters()

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
