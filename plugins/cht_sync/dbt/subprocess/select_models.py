"""A program of its own: lets dbt say which models parts of ``DBT_SELECTOR`` mean."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cht_sync.dbt.subprocess.parsed import read_large_seeds


def main(report: str, atoms: str, project: str, *where: str) -> int:
    """Writes the unique ids by part, as JSON, or dbt's message where it does not take a part, which is no failure.

    :param atoms: parts of a ``--select`` expression, as JSON.
    :param project: folder of the project that the models come from.
    :param where: options of dbt: project, profile, target.
    """
    from dbt.cli.main import dbtRunner
    from dbt.graph import selector_methods

    # `path:` is looked for below the root project, and that is the wrapper of this one.
    setattr(selector_methods, "get_project_root", lambda: project)  # noqa: B010
    quiet = ["--no-use-colors", "--quiet"]
    read_large_seeds()
    parsed = dbtRunner().invoke([*quiet, "parse", *where])
    if not parsed.success:
        return 1
    manifest: Any = parsed.result
    found: dict[str, Any] = {}
    for atom in json.loads(atoms):
        named = ["--selector", atom.removeprefix("selector:")] if atom.startswith("selector:") else ["--select", atom]
        command = ["ls", *named, "--resource-type", "model", "--output", "json", "--output-keys", "unique_id"]
        done = dbtRunner(manifest=manifest).invoke([*quiet, *command, *where])
        lines = done.result if isinstance(done.result, list) else []
        found[atom] = (
            [json.loads(line)["unique_id"] for line in lines] if done.success else " ".join(str(done.exception).split())
        )
    Path(report).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
