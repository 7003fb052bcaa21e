"""docs/reference-settings.md, from .env.template."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = """# Settings

Made by `make reference` from `.env.template`: change it there. The default is what stands there; an empty one means not
set. What a value may be is checked by the task `sources` and by `python -m cht_sync check`, before anything is
written.
"""


def settings_page(template: Path) -> str:
    """The page.

    :param template: ``.env.template``.
    """
    lines = [HEAD]
    comment: list[str] = []
    for line in template.read_text().splitlines():
        if section := re.match(r"# --- (.*?) -*$", line):
            lines += [f"\n## {section[1].strip()}\n", "| variable | default | meaning |", "|---|---|---|"]
            comment = []
        elif line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif assignment := re.match(r"([A-Z0-9_]+)=(.*)$", line):
            value = assignment[2].strip('"')
            lines.append(f"| `{assignment[1]}` | {f'`{value}`' if value else ''} | {' '.join(comment)} |")
            comment = []
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"
