"""The code that pages of the documentation show, as it is printed there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import yaml

from cht_sync.settings.settings import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted(path for path in (REPOSITORY / "include").rglob("*.md") if "node_modules" not in path.parts),
]
# What dbt reads from a file of YAML: https://docs.getdbt.com/reference/configs-and-properties
_OF_DBT = {
    "config-version",
    "packages",
    "models",
    "sources",
    "seeds",
    "snapshots",
    "exposures",
    "selectors",
    "unit_tests",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    :param page: where it stands.
    :param line: first line of the block, from 1.
    :param language: what stands behind the opening marks.
    :param text: the code, without the page's indentation.
    :param before: the page up to the block.
    """

    page: Path
    line: int
    language: str
    text: str
    before: str

    @property
    def place(self) -> str:
        """Page and line, for a person."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def file(self) -> str:
        """The file that the words before the block name; empty where they name none."""
        found = re.search(r"`([\w./-]+\.(?:sql|yml|yaml|csv|py))`[^`\n]*(?:\n[^`\n]+)?:\s*$", self.before)
        return found[1] if found else ""

    @property
    def is_dbt(self) -> bool:
        """Whether it is code of dbt: SQL with its macros, or a file of its properties."""
        if self.language in {"yaml", "yml"}:
            try:
                content = yaml.safe_load(self.text)
            except yaml.YAMLError:
                return "{{" in self.text
            return isinstance(content, dict) and bool(_OF_DBT.intersection(content))
        return self.language in {"sql", "jinja", "jinja2"} and bool(re.search(r"\{[{%#]", self.text))

    @property
    def is_sql(self) -> bool:
        """Whether it is plain SQL."""
        return self.language in {"sql", "postgresql", "psql"} and not self.is_dbt


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page.

    :param page: the file.
    """
    text = page.read_text()
    for found in re.finditer(r"^( *)(```+|~~~+) *(\w*)[^\n]*\n(.*?)^\1\2 *$", text, re.M | re.S):
        before = text[: found.start()]
        yield Block(page, before.count("\n") + 2, found[3].lower(), dedent(found[4]), before)


def sentences_of_sql(page: Path) -> Iterator[Block]:
    """Whole statements within the prose of a page; parts of one, marked by dots, are none.

    :param page: the file.
    """
    text = re.sub(
        r"^( *)```.*?^\1``` *$", lambda found: "\n" * found[0].count("\n"), page.read_text(), flags=re.M | re.S
    )
    whole = r"`((?:select|delete from|update|insert into|create|grant|alter|drop|with) [^`]*)`"
    for found in re.finditer(whole, text):
        if re.search(r" (from|set|to|on|as|table|schema|role) ", found[1]) and "..." not in found[1]:
            yield Block(page, text[: found.start()].count("\n") + 1, "sql", found[1], text[: found.start()])
