"""What a form asks, in English and Swahili."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

Texts = tuple[str, str]
# Value, English, Swahili.
Choice = tuple[str, str, str]
YES_NO: tuple[Choice, ...] = (("yes", "Yes", "Ndiyo"), ("no", "No", "Hapana"))


@dataclass(frozen=True)
class Question:
    """A field of a form.

    :param control: element of the form's body; empty: nobody is asked.
    :param label: English and Swahili; empty where the form shows nothing.
    """

    name: str
    type: str = "string"
    control: str = ""
    label: Texts = ("", "")
    choices: tuple[Choice, ...] = ()
    calculate: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Group:
    """Questions that stand together.

    :param repeated: it may be filled in several times.
    :param relevant: when it is shown.
    """

    name: str
    items: tuple[Question | Group, ...]
    label: Texts = ("", "")
    repeated: bool = False
    relevant: str = ""


@dataclass(frozen=True)
class Form:
    """A form at one version.

    :param root: name of the element around all fields.
    :param context: where the app offers it.
    """

    code: str
    title: Texts
    items: tuple[Question | Group, ...]
    root: str
    context: tuple[str, ...] = ("person",)


def text(name: str, english: str, swahili: str) -> Question:
    """A line of text."""
    return Question(name, "string", "input", (english, swahili))


def integer(name: str, english: str, swahili: str) -> Question:
    """A whole number."""
    return replace(text(name, english, swahili), type="int")


def decimal(name: str, english: str, swahili: str) -> Question:
    """A number."""
    return replace(text(name, english, swahili), type="decimal")


def date(name: str, english: str, swahili: str) -> Question:
    """A day."""
    return replace(text(name, english, swahili), type="date")


def note(name: str, english: str, swahili: str) -> Question:
    """A text that is only shown."""
    return replace(text(name, english, swahili), read_only=True)


def one_of(name: str, english: str, swahili: str, choices: Sequence[Choice]) -> Question:
    """A choice."""
    return Question(name, "select1", "select1", (english, swahili), tuple(choices))


def some_of(name: str, english: str, swahili: str, choices: Sequence[Choice]) -> Question:
    """Several choices."""
    return Question(name, "select", "select", (english, swahili), tuple(choices))


def yes_no(name: str, english: str, swahili: str) -> Question:
    """Yes or no."""
    return one_of(name, english, swahili, YES_NO)


def calculated(name: str, expression: str) -> Question:
    """What the app fills in; converters of forms declare it as text whatever it holds."""
    return Question(name, calculate=expression)


def hidden(*names: str) -> tuple[Question, ...]:
    """Fields that the app fills in from elsewhere."""
    return tuple(Question(name) for name in names)


def typed(name: str, kind: str, english: str, swahili: str) -> Question:
    """A question of another type, such as ``geopoint``."""
    return replace(text(name, english, swahili), type=kind)
