"""Typed access to environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from cht_sync.errors import SettingsError


class Environment:
    """Reads environment variables as texts, numbers, flags and names.

    :param environ: the variables; ``os.environ`` by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def text(self, name: str, default: str = "") -> str:
        """The value of a variable without surrounding white space; empty counts as not set.

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        """
        return (self._environ.get(name) or "").strip() or default

    def words(self, name: str) -> list[str]:
        """The words of a list separated by commas or white space, each once, in order.

        :param name: name of the variable.
        """
        return list(dict.fromkeys(word for word in re.split(r"[,\s]+", self.text(name)) if word))

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds.

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        :param low: smallest value allowed.
        :param high: largest value allowed.
        :raises SettingsError: if it is no whole number or out of bounds.
        """
        value = self.text(name, str(default))
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise SettingsError(
                f"{name}={value!r} cannot be used: set it to a whole number from {low} to {high}.", name
            )
        return int(value)

    def port(self, name: str, default: int) -> int:
        """A TCP port.

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        :raises SettingsError: if it is none.
        """
        return self.number(name, default, 1, 65_535)

    def flag(self, name: str, default: bool) -> bool:
        """``true`` or ``false``, in any case.

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        :raises SettingsError: for any other value.
        """
        value = self.text(name, str(default)).lower()
        if value not in {"true", "false"}:
            raise SettingsError(f"{name}={value!r} cannot be used: set it to true or false.", name)
        return value == "true"

    def identifier(self, name: str, default: str) -> str:
        """A name in Postgres; blanks, single quotes and capitals are quoted, not refused.

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        :raises SettingsError: if Postgres, its driver or dbt cannot hold the name.
            Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
        """
        value = self.text(name, default)
        if '"' in value or "%" in value or not value.isprintable() or len(value.encode(errors="surrogatepass")) > 63:
            raise SettingsError(
                f"{name}={value!r} cannot be used: give a name of at most 63 bytes, without %, double quotes and"
                " control characters.",
                name,
            )
        return value
