"""dbt in a process of its own, for the runs of the models, data tests and docs: several commands on one project."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest

from cht_sync.dbt.project.lineage import Lineage
from cht_sync.dbt.subprocess import batches as batches_of
from cht_sync.dbt.subprocess.answering import Answers, Command, answer
from cht_sync.dbt.subprocess.events import NO_CONSOLE, let_go, print_line
from cht_sync.dbt.subprocess.parsed import packed, read_large_seeds, unpacked
from cht_sync.postgres.keepalive import end_with_process
from cht_sync.redaction import of_text
from cht_sync.redaction.in_dbt import redact_dbt

_TOLD = {"NodeFinished", "SkippingDetails"}
_GOOD = {"success", "pass"}


class Runs:
    """Runs dbt's commands in the folder and with the variables that come with each, and with nothing else."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._parsed = b""
        redact_dbt()
        read_large_seeds()
        batches_of.cover_batches()

    def parse(self, arguments: list[str], environment: dict[str, str], folder: str) -> Command:
        """Reads the project."""
        _move(environment, folder)
        done = dbtRunner(callbacks=[print_line]).invoke([*NO_CONSOLE, *arguments])
        if not done.success or not isinstance(done.result, Manifest):
            return outcome(done)
        self._parsed = packed(done.result)
        lineage = asdict(Lineage.of(done.result))
        parents = {name: sorted(each) for name, each in lineage["parents"].items()}
        return {**outcome(done), "lineage": {**lineage, "parents": parents}}

    def run(
        self,
        arguments: list[str],
        environment: dict[str, str],
        folder: str,
        batches: dict[str, dict[str, Any]] | None = None,
    ) -> Command:
        """Runs models of the project that was read; ``batches`` of microbatch models are built already.

        Source: https://docs.getdbt.com/reference/programmatic-invocations#reusing-objects
        """
        batches_of.known.clear()
        batches_of.known.update(batches or {})
        batches_of.noted.clear()
        # A run writes into its manifest, what it has compiled among others.
        manifest = unpacked(self._parsed)

        def tell(event: Any) -> None:
            if event.info.name in _TOLD and not batches_of.is_in_batch():
                self._answers.write({"event": _event(event, manifest)})

        return self._invoke(dbtRunner(manifest=manifest, callbacks=[print_line, tell]), arguments, environment, folder)

    def invoke(self, arguments: list[str], environment: dict[str, str], folder: str) -> Command:
        """Runs any other command."""
        return self._invoke(dbtRunner(callbacks=[print_line]), arguments, environment, folder)

    @staticmethod
    def _invoke(runner: dbtRunner, arguments: list[str], environment: dict[str, str], folder: str) -> Command:
        _move(environment, folder)
        try:
            return outcome(runner.invoke([*NO_CONSOLE, *arguments]))
        finally:
            reset_adapters()


def _move(environment: Mapping[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def _event(event: Any, manifest: Manifest) -> Command:
    """The parts of one of dbt's events that :class:`cht_sync.dbt.run.model_watch.ModelWatch` looks at."""
    node, result, table = event.data.node_info, getattr(event.data, "run_result", None), None
    if node.resource_type == "model":
        place = node.node_relation
        table = {"database": place.database, "schema": place.schema, "alias": place.alias}
    failed = str(node.node_status) not in _GOOD
    return {
        "info": {"name": event.info.name},
        "data": {
            "node_info": {
                "unique_id": node.unique_id,
                "node_name": node.node_name,
                "node_status": str(node.node_status),
                "resource_type": node.resource_type,
                "node_relation": table,
            },
            "run_result": {
                "message": str(getattr(result, "message", "")),
                "execution_time": float(getattr(result, "execution_time", 0) or 0),
            },
            "batches": json.dumps(batches_of.noted.get(node.unique_id)),
        },
        "compiled": (getattr(manifest.nodes.get(node.unique_id), "compiled_code", None) or "") if failed else "",
    }


def outcome(done: dbtRunnerResult) -> Command:
    """How a command ended; ``results``, one for each node, where it gives such."""
    results = getattr(done.result, "results", None)
    return {
        "success": done.success,
        "exception": of_text(str(done.exception)) if done.exception else "",
        "results": None if results is None else [_result(one) for one in results],
    }


def _result(one: Any) -> Command:
    node = one.node
    return {
        "node": {"name": node.name, "unique_id": node.unique_id, "resource_type": str(node.resource_type)},
        "status": str(one.status),
        "message": one.message,
        "failures": getattr(one, "failures", None),
        "execution_time": float(getattr(one, "execution_time", 0) or 0),
    }


def main(arguments: list[str]) -> None:
    """Answers the commands of a task.

    :param arguments: file descriptor of the answers; name of dbt's sessions.
    """
    end_with_process(arguments[1])
    answers = Answers(int(arguments[0]))
    answer(Runs(answers), answers)
    let_go()


if __name__ == "__main__":
    main(sys.argv[1:])
