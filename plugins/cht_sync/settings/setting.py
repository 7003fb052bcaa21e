"""Declarations of settings: one environment variable each, with its type, its default and its help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Generic, NamedTuple, Self, TypeVar, overload

from cht_sync.errors import SettingsError
from cht_sync.settings.environment import Environment

T = TypeVar("T")
# Of Airflow's presets croniter knows the others.
# Source: https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/cron.html#cron-presets
NOT_IN_CRONITER = {"@continuous", "@once", "@quarterly"}


class Line(NamedTuple):
    """One variable of ``.env.template`` and of docs/reference-settings.md: name, value there, and help."""

    name: str
    value: str
    about: str


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One environment variable, read and checked whenever the attribute of its section is.

    ``.env.template`` and docs/reference-settings.md are made from the same declaration, by ``include.reference``.

    :param default: what stands for a missing or empty variable.
    :param about: the help; empty where that of the declaration before is about both.
    :param template: what ``.env.template`` sets, where that is not the default.
    """

    name: str
    default: str | int = ""
    _: KW_ONLY
    about: str = ""
    template: str | None = None

    @overload
    def __get__(self, section: None, owner: type) -> Self: ...
    @overload
    def __get__(self, section: Environment, owner: type) -> T: ...
    def __get__(self, section: Environment | None, owner: type) -> Self | T:
        return self if section is None else self.read(section)

    def read(self, environment: Environment) -> T:
        """The value; raises a :class:`SettingsError` if it cannot be used."""
        return self.convert(environment.text(self.name, str(self.default)))

    def convert(self, value: str) -> T:
        """The value of a text that is not empty, or of the default."""
        raise NotImplementedError

    def lines(self) -> Iterator[Line]:
        """What ``.env.template`` and the reference say."""
        yield Line(self.name, str(self.default) if self.template is None else self.template, self.about)

    def refused(self, value: str, remedy: str) -> SettingsError:
        """The error of a value that cannot be used."""
        return SettingsError(f"{self.name}={value!r} {remedy}", self.name)


class Section(Environment):
    """Settings that belong together, as attributes.

    No section knows another: what several decide together is in :class:`cht_sync.settings.settings.Settings`.
    """

    title = ""


class Text(Setting[str]):
    """Any text."""

    def convert(self, value: str) -> str:
        return value


class Words(Setting[list[str]]):
    """A list separated by commas or white space, each word once, in order."""

    def convert(self, value: str) -> list[str]:
        return list(dict.fromkeys(word for word in re.split(r"[,\s]+", value) if word))


@dataclass(frozen=True)
class Secret(Setting[str]):
    """A password, of the variable or of the file that ``<name>_FILE`` names.

    :param about_file: the help of the latter.
    """

    _: KW_ONLY
    about_file: str = ""

    def read(self, environment: Environment) -> str:
        return environment.secret(self.name, str(self.default))

    def lines(self) -> Iterator[Line]:
        yield Line(self.name, "", self.about)
        yield Line(f"{self.name}_FILE", "", self.about_file)


@dataclass(frozen=True)
class Number(Setting[int]):
    """A whole number within bounds.

    :param unit: what the value is multiplied by.
    """

    _: KW_ONLY
    low: int
    high: int
    unit: int = 1

    def convert(self, value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not self.low <= int(value) <= self.high:
            raise self.refused(value, f"cannot be used: set it to a whole number from {self.low} to {self.high}.")
        return int(value) * self.unit


@dataclass(frozen=True)
class Port(Number):
    """A TCP port."""

    _: KW_ONLY
    low: int = 1
    high: int = 65_535


class Flag(Setting[bool | None]):
    """``true`` or ``false``, in any case; None where neither is set."""

    def convert(self, value: str) -> bool | None:
        if value.lower() not in {"true", "false", ""}:
            raise self.refused(value.lower(), "cannot be used: set it to true or false.")
        return value.lower() == "true" if value else None


@dataclass(frozen=True)
class Choice(Setting[str]):
    """One of several words, in any case; empty where there is no default."""

    options: Sequence[str] = ()

    def convert(self, value: str) -> str:
        word = value.lower()
        if word and word not in self.options:
            *others, last = map(repr, self.options)
            raise self.refused(word, f"is unknown: use {', '.join(others)} or {last}.")
        return word


class Identifier(Setting[str]):
    """A name in Postgres; blanks, single quotes and capitals are quoted, not refused.

    What Postgres, its driver or dbt cannot hold is refused.
    Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
    """

    def convert(self, value: str) -> str:
        if '"' in value or "%" in value or not value.isprintable() or len(value.encode(errors="surrogatepass")) > 63:
            raise self.refused(
                value,
                "cannot be used: give a name of at most 63 bytes, without %, double quotes and control characters.",
            )
        return value


class SchemaName(Identifier):
    """A schema that may be created. Source: https://www.postgresql.org/docs/current/sql-createschema.html"""

    def convert(self, value: str) -> str:
        name = super().convert(value)
        if name.startswith("pg_") or name == "information_schema":
            raise self.refused(
                value,
                "cannot be used: PostgreSQL keeps information_schema and names that begin with pg_ for itself; give the"
                " schema another name.",
            )
        return name


@dataclass(frozen=True)
class Schedule(Setting[str | None]):
    """A cron expression or a preset of Airflow's; None for ``none``.

    :param intervals: whether it needs data intervals, which rules out some presets.
    """

    _: KW_ONLY
    intervals: bool = False

    def convert(self, value: str) -> str | None:
        from croniter import croniter

        if value.lower() in {"none", "@none"}:
            return None
        if (self.intervals or value not in NOT_IN_CRONITER) and not croniter.is_valid(value):
            presets = "'@hourly'" if self.intervals else "'@hourly' or '@continuous'"
            raise self.refused(
                value, f"is no cron expression: use one such as '*/5 * * * *', a preset such as {presets}, or 'none'."
            )
        return value
