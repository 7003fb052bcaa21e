"""The settings that name Superset, and what it reaches Postgres with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cht_sync.errors import SettingsError
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.setting import Choice, Port, Secret, Section, Text
from cht_sync.settings.settings import SSL_MODES, Settings


@dataclass(frozen=True, slots=True)
class Login:
    """Superset's address, and a user who may import.

    :param url: of Superset, without a slash at its end.
    :param user: name of a user of Superset's own database, with the role Admin or one that may import assets.
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
    :param tls: parameters by libpq's names; files are those of Superset's machine.
    """

    host: str
    port: int
    database: str
    schema: str
    user: str
    password: str = field(repr=False)
    tls: dict[str, str] = field(default_factory=dict)


class SupersetSection(Section):
    """The ``SUPERSET_*`` variables."""

    title = "Superset: `make dashboards` alone reads these, docs/how-to-superset.md"
    # fmt: off
    _url = Text("SUPERSET_URL", about="Address of Superset, and a user of its own database who may import.")
    _user = Text("SUPERSET_USER", "admin")
    _password = Secret("SUPERSET_PASSWORD")
    _ca_bundle = Text(
        "SUPERSET_CA_BUNDLE",
        about="File of the CAs to trust, for an https address, in place of those of certifi.",
    )
    _db_host = Text(
        "SUPERSET_DB_HOST",
        about="What Superset reads the models with. Host and port by default those of the models' role, as Superset"
        " resolves them.",
    )
    _db_port = Port("SUPERSET_DB_PORT", 5432, template="")
    _db_user = Text("SUPERSET_DB_USER", "cht_dashboard")
    _db_password = Secret("SUPERSET_DB_PASSWORD")
    _db_sslmode = Choice(
        "SUPERSET_DB_SSLMODE", "", SSL_MODES,
        about="TLS by the names of libpq; the file is one of Superset's machine.",
    )
    _db_sslrootcert = Text("SUPERSET_DB_SSLROOTCERT")
    # fmt: on


class SupersetSettings(Settings, SupersetSection):
    """The settings of the project and those of Superset; only the command that imports dashboards reads the latter."""

    @property
    def login(self) -> Login:
        """Superset's address and user."""
        url = self._url.rstrip("/")
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
        bundle = self._ca_bundle
        if bundle and not Path(bundle).exists():
            raise SettingsError(
                f"SUPERSET_CA_BUNDLE={bundle!r} is not there: name a file of the CAs to trust.", "SUPERSET_CA_BUNDLE"
            )
        password = _needed("SUPERSET_PASSWORD", self._password, "the password of SUPERSET_USER")
        return Login(url=url, user=self._user, password=password, ca_bundle=bundle)

    @property
    def warehouse(self) -> Warehouse:
        """The database as Superset sees it; host, port and database are by default those of the role of the models."""
        known = dbt_connection(self)
        tls = {"sslmode": self._db_sslmode, "sslrootcert": self._db_sslrootcert}
        return Warehouse(
            host=self._db_host or known.host or "",
            port=self._db_port if self.text("SUPERSET_DB_PORT") else known.port or self._db_port,
            database=known.schema or "",
            schema=self.dbt_schema,
            user=self._db_user,
            password=_needed("SUPERSET_DB_PASSWORD", self._db_password, "the password of SUPERSET_DB_USER in Postgres"),
            tls={name: value for name, value in tls.items() if value},
        )


def _needed(name: str, secret: str, what: str) -> str:
    if not secret:
        raise SettingsError(
            f"{name} is empty: set it to {what}, or {name}_FILE to a file that holds nothing else.", name
        )
    return secret
