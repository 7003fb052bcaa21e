"""What a form asks, whether an XForm or the app settings define it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str, ...]
# Characters of a code, bytes of a path: an index of PostgreSQL takes no more than 2,700 bytes of both.
LONGEST_CODE, LONGEST_PATH = 200, 1_500
# By language, such as ``en``; ``""`` where the form names none.
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Choice:
    """One answer of a select."""

    value: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True)
class FormField:
    """A value that a report of the form may hold.

    :param path: names below ``fields`` of a report, of repeats too.
    :param type: as the form declares it; ``string`` where it declares none. A control's kind wins over its bind, which
        newer converters of forms leave at ``string``: ``select``, ``select1``, ``rank``.
    :param choices: those that the definition lists; empty where they come from elsewhere.
    :param repeat: path of the innermost repeat around it.
    :param note: it only shows text: reports hold nothing for it.
    :param hidden: no person is asked: it is calculated, or no part of the form shows it.
    """

    path: Path
    type: str = "string"
    labels: Labels = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    repeat: Path | None = None
    note: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class FormDefinition:
    """A form at one version.

    :param version: as the definition says it; None where it says none.
    :param fields: in the order of the form.
    :param repeats: path of each repeat, outer ones before inner ones.
    """

    code: str
    title: str
    version: str | None
    fields: tuple[FormField, ...]
    repeats: tuple[Path, ...] = ()
    labels: Labels = field(default_factory=dict)


def is_too_long(path: Path) -> bool:
    """Whether the catalogue has no room for a path."""
    return len("".join(path).encode()) > LONGEST_PATH
