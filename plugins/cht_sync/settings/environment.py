"""Texts, folders and secrets of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cht_sync.errors import SettingsError


def expanded(name: str, value: str) -> Path:
    """The folder that a variable names, which may begin with ``~``.

    :raises SettingsError: if there is no such home.
    """
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{name}={value!r} cannot be used: there is no such home; give a folder by its full path.", name
        ) from None


class Environment:
    """Reads environment variables.

    :param environ: the variables; ``os.environ`` by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def text(self, name: str, default: str = "") -> str:
        """The value of a variable without surrounding white space; empty counts as not set."""
        return (self._environ.get(name) or "").strip() or default

    def names(self, start: str) -> list[str]:
        """Names of the variables that begin with a text and are set, in order."""
        return sorted(name for name in self._environ if name.startswith(start) and self.text(name))

    def secret(self, name: str, default: str = "") -> str:
        """A password: of the variable, or of the file that ``<name>_FILE`` names, as secrets of Docker are mounted.

        The end of the file's last line is no part of it.
        Source: https://docs.docker.com/compose/how-tos/use-secrets/

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
