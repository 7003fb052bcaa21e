"""The variables that name Superset, and what it reaches Postgres with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cht_sync.errors import SettingsError
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import SSL_MODES, Settings


@dataclass(frozen=True, slots=True)
class Login:
    """Superset's address, and a user who may import.

    :param url: of Superset, without a slash at its end.
    :param user: name of a user of Superset's own database, with the role Admin or one that may import assets.
    :param password: of that user.
    :param ca_bundle: file of the CAs to trust; empty for those of certifi.
    """

    url: str
    user: str
    password: str = field(repr=False)
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The database as Superset sees it.

    :param host: as the machine of Superset resolves it.
    :param port: TCP port.
    :param database: name.
    :param schema: of the models.
    :param user: a role that reads the models and nothing else.
    :param password: of that role.
    :param tls: parameters by libpq's names; files are those of Superset's machine.
    """

    host: str
    port: int
    database: str
    schema: str
    user: str
    password: str = field(repr=False)
    tls: dict[str, str] = field(default_factory=dict)


class SupersetSettings(Settings):
    """The ``SUPERSET_*`` variables; only the command that imports dashboards reads them."""

    @property
    def login(self) -> Login:
        """``SUPERSET_URL``, ``_USER`` (default ``admin``), ``_PASSWORD`` or ``_PASSWORD_FILE``, ``_CA_BUNDLE``.

        :raises SettingsError: if the address is missing or none, or the password is missing.
        """
        url = self.text("SUPERSET_URL").rstrip("/")
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and not (parts.username or parts.password)
            usable = usable and not parts.query and not parts.fragment and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            # An address may hold a password, which is not told.
            shown = "is empty" if not url else "cannot be used"
            raise SettingsError(
                f"SUPERSET_URL {shown}: set it to the http or https address of Superset, without user and password,"
                " for example https://superset.example.org.",
                "SUPERSET_URL",
            )
        bundle = self.text("SUPERSET_CA_BUNDLE")
        if bundle and not Path(bundle).exists():
            raise SettingsError(
                f"SUPERSET_CA_BUNDLE={bundle!r} is not there: name a file of the CAs to trust.", "SUPERSET_CA_BUNDLE"
            )
        return Login(
            url=url,
            user=self.text("SUPERSET_USER", "admin"),
            password=self._needed("SUPERSET_PASSWORD", "the password of SUPERSET_USER"),
            ca_bundle=bundle,
        )

    @property
    def warehouse(self) -> Warehouse:
        """``SUPERSET_DB_*``; host, port and database are by default those of the role of the models.

        :raises SettingsError: if the password is missing or another variable cannot be used.
        """
        known = dbt_connection(self)
        mode = self.text("SUPERSET_DB_SSLMODE")
        if mode and mode not in SSL_MODES:
            raise SettingsError(
                f"SUPERSET_DB_SSLMODE={mode!r} is unknown: use one of {', '.join(SSL_MODES)}.", "SUPERSET_DB_SSLMODE"
            )
        tls = {"sslmode": mode, "sslrootcert": self.text("SUPERSET_DB_SSLROOTCERT")}
        return Warehouse(
            host=self.text("SUPERSET_DB_HOST", known.host or ""),
            port=self.port("SUPERSET_DB_PORT", known.port or 5432),
            database=known.schema or "",
            schema=self.dbt_schema,
            user=self.text("SUPERSET_DB_USER", "cht_dashboard"),
            password=self._needed("SUPERSET_DB_PASSWORD", "the password of SUPERSET_DB_USER in Postgres"),
            tls={name: value for name, value in tls.items() if value},
        )

    def _needed(self, name: str, what: str) -> str:
        secret = self.secret(name)
        if not secret:
            raise SettingsError(
                f"{name} is empty: set it to {what}, or {name}_FILE to a file that holds nothing else.", name
            )
        return secret
