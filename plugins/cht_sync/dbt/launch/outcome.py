"""How a command of dbt ended, as its own process reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cht_sync.dbt.launch.environment import advice, to_start
from cht_sync.dbt.launch.own_process import OnEvent, OwnProcess, ProcessEndedError
from cht_sync.dbt.launch.profile import ModelsProfile
from cht_sync.dbt.launch.sessions import session_name
from cht_sync.dbt.project.lineage import Lineage
from cht_sync.redaction import of_text
from cht_sync.settings.settings import Settings

PROGRAM = "cht_sync.dbt.subprocess.runs"


@dataclass(slots=True)
class Outcome:
    """What of ``dbtRunnerResult`` is looked at here and in Cosmos, under the same names.

    :param exception: why dbt could not do it at all; empty where it could.
    :param result: with ``results``, one for each node, where the command gives such.
    """

    success: bool
    exception: str = ""
    result: Any = None
    lineage: Lineage | None = None


def own_process(environment: Mapping[str, str]) -> OwnProcess:
    """Starts dbt; the password comes with each command, so that the start of the process does not hold it."""
    secret = environment.get(ModelsProfile.get_env_var_name("password"), "")
    name = session_name(Settings().dbt_schema)
    return OwnProcess(PROGRAM, to_start(), Path("/"), [name], secrets=[secret])


def ask(process: OwnProcess, command: str, on_event: OnEvent | None = None, **call: Any) -> Outcome:
    """Gives a command and waits for its end.

    :param command: ``parse``, ``run`` or ``invoke``.
    :param on_event: is given what dbt says of each node meanwhile.
    :param call: ``arguments`` of dbt, ``environment`` with all variables that it gets, ``folder`` to run in, and what
        else the command takes.
    """
    try:
        answer = process.ask(command, on_event, **call)
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
    """Runs one command, as Cosmos has made it, in a process of its own."""
    process = own_process(environment)
    try:
        outcome = ask(process, "invoke", arguments=command[1:], environment=dict(environment), folder=folder)
    except BaseException:
        process.end(at_once=True)
        raise
    process.end()
    return outcome


def as_object(value: Any) -> Any:
    """JSON with attributes in place of keys."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(each) for name, each in value.items()})
    return value


def node_results(outcome: Any) -> list[Any]:
    """What dbt says of each node; nothing where it could not begin."""
    return getattr(outcome.result, "results", None) or []


def messages_of(results: Iterable[Any]) -> str:
    """What dbt says of nodes, without values of documents."""
    return "; ".join(f"{one.node.name}: {of_text(one.message or '')}" for one in results)
