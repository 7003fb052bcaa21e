"""A program of its own: compiles every model, and runs the unit tests where asked.

``dbt compile`` ends with the first model that fails, and ``dbt test`` writes to the database by the hooks of the
project; here every model is reported, and no hook runs. Nothing is written to the version's own ``target``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cht_sync.dbt.subprocess.parsed import packed, read_large_seeds, unpacked
from cht_sync.redaction import of_text
from cht_sync.redaction.in_dbt import redact_dbt


def main(report: str, target: str, what: str, *where: str) -> int:
    """Writes the results as JSON; the exit code is 0 also where models failed.

    :param what: ``compile``, or ``tests`` for unit tests too.
    :param where: options of dbt: project, profile, target.
    """
    from dbt.cli.main import dbtRunner
    from dbt.task.compile import CompileTask

    redact_dbt()
    read_large_seeds()
    setattr(CompileTask, "raise_on_first_error", lambda _: False)  # noqa: B010
    quiet = ["--no-use-colors", "--quiet"]
    parsed = dbtRunner().invoke([*quiet, "parse", *where])
    if not parsed.success:
        return 1
    try:
        # As each run of the models does: what cannot be kept must fail here and not there.
        manifest: Any = unpacked(packed(parsed.result))
    except Exception as error:
        print(f"The YAML of the project holds what dbt cannot keep: {type(error).__name__}: {error}")
        return 1
    manifest.nodes = {name: node for name, node in manifest.nodes.items() if node.resource_type != "operation"}
    commands = [["compile", "--select", "resource_type:model"]]
    if what == "tests":
        commands.append(["test", "--select", "test_type:unit"])
    results: list[dict[str, Any]] = []
    for command in commands:
        done = dbtRunner(manifest=manifest).invoke([*quiet, *command, *where, "--target-path", target])
        found = getattr(done.result, "results", None)
        if found is None:
            print(of_text(str(done.exception or "")) or f"dbt {command[0]} gave no result")
            return 1
        results += [_told(one) for one in found]
    Path(report).write_text(json.dumps(results))
    return 0


def _told(one: Any) -> dict[str, Any]:
    node = one.node
    materialized = getattr(getattr(node, "config", None), "materialized", "")
    return {
        "kind": str(node.resource_type),
        "name": node.name,
        "path": node.original_file_path,
        "status": str(one.status),
        "message": one.message or "",
        # A model in Python that is not chosen may be there.
        "sql": getattr(node, "compiled_code", None) or "" if str(getattr(node, "language", "sql")) == "sql" else "",
        "materialized": str(materialized),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
