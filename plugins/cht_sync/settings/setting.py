"""Declarations of settings: one environment variable each, with its type, its default and its help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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


class Setting(Generic[T]):
    """One environment variable, read and checked whenever the attribute of its section is.

    ``.env.template`` and docs/reference-settings.md are made from the same declaration, by ``include.reference``.

    :param default: what stands for a missing or empty variable.
    :param about: the help; empty where that of the declaration before is about both.
    :param template: what ``.env.template`` sets, where that is not the default.
    """

    def __init__(self, name: str, default: str | int = "", about: str = "", *, template: str | None = None) -> None:
        self.name, self.default, self.about = name, str(default), about
        self.template = self.default if template is None else template

    @overload
    def __get__(self, section: None, owner: type) -> Self: ...
    @overload
    def __get__(self, section: Environment, owner: type) -> T: ...
    def __get__(self, section: Environment | None, owner: type) -> Self | T:
        return self if section is None else self.read(section)

    def read(self, environment: Environment) -> T:
        """The value; raises a :class:`SettingsError` if it cannot be used."""
        return self.convert(environment.text(self.name, self.default))

    def convert(self, value: str) -> T:
        """The value of a text that is not empty, or of the default."""
        raise NotImplementedError

    def lines(self) -> Iterator[Line]:
        """What ``.env.template`` and the reference say."""
        yield Line(self.name, self.template, self.about)

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
        """The text as it is."""
        return value


class Words(Setting[list[str]]):
    """A list separated by commas or white space, each word once, in order."""

    def convert(self, value: str) -> list[str]:
        """The words."""
        return list(dict.fromkeys(word for word in re.split(r"[,\s]+", value) if word))


class Secret(Setting[str]):
    """A password, of the variable or of the file that ``<name>_FILE`` names.

    :param about_file: the help of the latter.
    """

    def __init__(self, name: str, default: str = "", about: str = "", about_file: str = "") -> None:
        super().__init__(name, default, about, template="")
        self._about_file = about_file

    def read(self, environment: Environment) -> str:
        """The password."""
        return environment.secret(self.name, self.default)

    def lines(self) -> Iterator[Line]:
        """Both variables."""
        yield from super().lines()
        yield Line(f"{self.name}_FILE", "", self._about_file)


class Number(Setting[int]):
    """A whole number within bounds.

    :param unit: what the value is multiplied by.
    """

    def __init__(
        self, name: str, default: int | str, about: str = "", *, low: int, high: int, unit: int = 1,
        template: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, default, about, template=template)
        self._low, self._high, self._unit = low, high, unit

    def convert(self, value: str) -> int:
        """The number, in the smaller unit."""
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not self._low <= int(value) <= self._high:
            raise self.refused(value, f"cannot be used: set it to a whole number from {self._low} to {self._high}.")
        return int(value) * self._unit


class Port(Number):
    """A TCP port."""

    def __init__(self, name: str, default: int, about: str = "", *, template: str | None = None) -> None:
        super().__init__(name, default, about, low=1, high=65_535, template=template)


class Flag(Setting[bool | None]):
    """``true`` or ``false``, in any case; None where neither is set."""

    def convert(self, value: str) -> bool | None:
        """The flag."""
        if value.lower() not in {"true", "false", ""}:
            raise self.refused(value.lower(), "cannot be used: set it to true or false.")
        return value.lower() == "true" if value else None


class Choice(Setting[str]):
    """One of several words, in any case; empty where there is no default."""

    def __init__(self, name: str, default: str, options: Sequence[str], about: str = "") -> None:
        super().__init__(name, default, about)
        self._options = options

    def convert(self, value: str) -> str:
        """The word, in small letters."""
        word = value.lower()
        if word and word not in self._options:
            *others, last = map(repr, self._options)
            raise self.refused(word, f"is unknown: use {', '.join(others)} or {last}.")
        return word


class Identifier(Setting[str]):
    """A name in Postgres; blanks, single quotes and capitals are quoted, not refused.

    What Postgres, its driver or dbt cannot hold is refused.
    Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
    """

    def convert(self, value: str) -> str:
        """The name as it is."""
        if '"' in value or "%" in value or not value.isprintable() or len(value.encode(errors="surrogatepass")) > 63:
            raise self.refused(
                value,
                "cannot be used: give a name of at most 63 bytes, without %, double quotes and control characters.",
            )
        return value


class SchemaName(Identifier):
    """A schema that may be created. Source: https://www.postgresql.org/docs/current/sql-createschema.html"""

    def convert(self, value: str) -> str:
        """The name as it is."""
        name = super().convert(value)
        if name.startswith("pg_") or name == "information_schema":
            raise self.refused(
                value,
                "cannot be used: PostgreSQL keeps information_schema and names that begin with pg_ for itself; give the"
                " schema another name.",
            )
        return name


class Schedule(Setting[str | None]):
    """A cron expression or a preset of Airflow's; None for ``none``.

    :param intervals: whether it needs data intervals, which rules out some presets.
    """

    def __init__(
        self, name: str, default: str, about: str = "", *, intervals: bool = False, template: str | None = None
    ) -> None:
        super().__init__(name, default, about, template=template)
        self._intervals = intervals

    def convert(self, value: str) -> str | None:
        """The expression."""
        from croniter import croniter

        if value.lower() in {"none", "@none"}:
            return None
        if (self._intervals or value not in NOT_IN_CRONITER) and not croniter.is_valid(value):
            presets = "'@hourly'" if self._intervals else "'@hourly' or '@continuous'"
            raise self.refused(
                value,
                f"is no cron expression: use one such as '*/5 * * * *', a preset such as {presets}, or 'none'.",
            )
        return value
