"""How a command of dbt's ended, as its own process tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cht_sync.dbt.launch.environment import advice, to_start
from cht_sync.dbt.launch.own_process import OwnProcess, ProcessEndedError
from cht_sync.dbt.launch.profile import ModelsProfile
from cht_sync.dbt.launch.sessions import session_name
from cht_sync.dbt.project.lineage import Lineage
from cht_sync.settings.settings import Settings

PROGRAM = "cht_sync.dbt.subprocess.runs"


@dataclass(slots=True)
class Outcome:
    """What of ``dbtRunnerResult`` is looked at here and in Cosmos, under the same names.

    :param success: whether all went well.
    :param exception: why dbt could not do it at all; empty where it could.
    :param result: with ``results``, one for each node, where the command gives such.
    :param lineage: of the project, where the command has read it.
    """

    success: bool
    exception: str = ""
    result: Any = None
    lineage: Lineage | None = None


def own_process(environment: Mapping[str, str]) -> OwnProcess:
    """Starts dbt; the password comes with each command, so that the start of the process does not hold it.

    :param environment: of the commands.
    """
    secret = environment.get(ModelsProfile.get_env_var_name("password"), "")
    name = session_name(Settings().dbt_schema)
    return OwnProcess(PROGRAM, to_start(), Path("/"), [name], secrets=[secret])


def ask(  # noqa: PLR0917
    process: OwnProcess,
    command: str,
    arguments: list[str],
    environment: Mapping[str, str],
    folder: str,
    told: Callable[[dict[str, Any]], None] | None = None,
    **more: Any,
) -> Outcome:
    """Gives a command and waits for its end.

    :param process: of :func:`own_process`.
    :param command: ``parse``, ``run`` or ``invoke``.
    :param arguments: of dbt.
    :param environment: all variables that dbt gets.
    :param folder: to run in.
    :param told: is given what is told of each node meanwhile.
    :param more: what else the command takes.
    """
    more |= {"arguments": arguments, "environment": dict(environment), "folder": str(folder)}
    try:
        answer = process.ask(command, told, **more)
    except ProcessEndedError as error:
        return Outcome(False, f"{error}.")
    results, lineage = answer["results"], answer.get("lineage")
    return Outcome(
        answer["success"],
        answer["exception"] + advice(answer["exception"]),
        None if results is None else SimpleNamespace(results=[as_object(one) for one in results]),
        Lineage.from_json(lineage) if lineage else None,
    )


def invoked(command: list[str], environment: Mapping[str, str], folder: str) -> Outcome:
    """Runs one command in a process of its own.

    :param command: as Cosmos has made it: program, options and command of dbt.
    :param environment: all variables that dbt gets.
    :param folder: to run in.
    """
    process = own_process(environment)
    try:
        outcome = ask(process, "invoke", command[1:], environment, folder)
    except BaseException:
        process.end(at_once=True)
        raise
    process.end()
    return outcome


def as_object(told: Any) -> Any:
    """The same with attributes in place of keys.

    :param told: of JSON.
    """
    if isinstance(told, dict):
        return SimpleNamespace(**{name: as_object(value) for name, value in told.items()})
    return told
