"""Typed access to environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

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

    def names(self, start: str) -> list[str]:
        """Names of the variables that are set, in order.

        :param start: what they begin with.
        """
        return sorted(name for name in self._environ if name.startswith(start) and self.text(name))

    def secret(self, name: str, default: str = "") -> str:
        """A password: of the variable, or of the file that ``<name>_FILE`` names, as secrets of Docker are mounted.

        The end of the file's last line is no part of it.
        Source: https://docs.docker.com/compose/how-tos/use-secrets/

        :param name: name of the variable.
        :param default: what stands for a missing or empty one.
        :raises SettingsError: if both are set, or the file cannot be read or is empty.
        """
        setting, path = f"{name}_FILE", self.text(f"{name}_FILE")
        if not path:
            return self.text(name, default)
        if self.text(name):
            raise SettingsError(f"{name} and {setting} are both set: take one away.", setting)
        try:
            secret = Path(path).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{setting}={path!r} cannot be read ({type(error).__name__}): name a file of UTF-8 text that holds the"
                " password and that the user of this process may read.",
                setting,
            ) from None
        if not secret:
            raise SettingsError(f"{setting}={path!r} is an empty file: write the password into it.", setting)
        return secret

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
