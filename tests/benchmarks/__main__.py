"""``make bench``: figures of this machine, each a ratio within one run or a figure of our own process."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import copying, forms, freshness, loading, page, parsing, proof, running
from tests.benchmarks.figures import Figure

PARTS = {
    "copying": copying.figures,
    "parsing": parsing.figures,
    "running": running.figures,
    "proof": proof.figures,
    "loading": loading.figures,
    "page": page.figures,
    "freshness": freshness.figures,
    "forms": forms.figures,
}


def main(wanted: list[str]) -> int:
    """Measures and prints a table.

    :param wanted: parts to measure: copying, parsing, running, proof, loading, page, freshness, forms; all where none is named.
    """
    console = Console(width=130)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="cht-sync-bench-") as folder:
        Path(folder).chmod(0o711)  # Postgres runs as another user
        for name in wanted or PARTS:
            console.print(f"measuring {name} …")
            found += PARTS[name](Path(folder))
    table = Table("figure", "measured", "aim", "")
    for figure in found:
        table.add_row(figure.name, figure.text, figure.aim, figure.verdict)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
