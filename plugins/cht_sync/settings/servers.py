"""The variables that name the servers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from cht_sync.errors import SettingsError
from cht_sync.settings.environment import Environment

COUCHDB_CONN_ID = "cht_couchdb"
POSTGRES_CONN_ID = "cht_postgres"
DBT_POSTGRES_CONN_ID = "cht_postgres_dbt"
# Source: https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SSL_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


@dataclass(frozen=True, slots=True)
class CouchDBSettings:
    """The ``COUCHDB_*`` variables: one CouchDB server, used where no Airflow connection names it."""

    host: str
    port: int
    secure: bool
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """One Postgres role and database, from ``POSTGRES_*`` or ``DBT_POSTGRES_*``."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str


@dataclass(frozen=True, slots=True)
class RawTable:
    """Where the documents are, and what of deleted ones: ``POSTGRES_SCHEMA``, ``POSTGRES_TABLE``.

    :param schema: name of the schema.
    :param table: name of the table.
    :param tombstone_bodies: whether deleted documents keep the fields that CouchDB hands out of them; by default a stub
        is stored.
    """

    schema: str
    table: str
    tombstone_bodies: bool = False


class ServerSettings(Environment):
    """CouchDB, Postgres and the table of documents."""

    @property
    def couchdb(self) -> CouchDBSettings:
        """The CouchDB server of ``COUCHDB_HOST``, ``_PORT``, ``_SECURE``, ``_USER``, ``_PASSWORD``.

        Without ``COUCHDB_SECURE`` it is https, save for a server that :func:`is_near`.
        """
        host = self.text("COUCHDB_HOST", "couchdb")
        near = is_near(host)
        if host.lower().startswith("http://") and not near and self.flag("COUCHDB_SECURE", True):
            raise SettingsError(
                f"COUCHDB_HOST={host!r} would send the password as plain text: give the host without http://; where"
                " plain text is wanted, set COUCHDB_SECURE=false.",
                "COUCHDB_HOST",
            )
        return CouchDBSettings(
            host=host,
            port=self.port("COUCHDB_PORT", 5984),
            secure=self.flag("COUCHDB_SECURE", not near),
            user=self.text("COUCHDB_USER", "medic"),
            password=self.secret("COUCHDB_PASSWORD", "password"),
        )

    @property
    def postgres(self) -> PostgresSettings:
        """The role that writes the raw tables."""
        return PostgresSettings(
            host=self.text("POSTGRES_HOST", "postgres"),
            port=self.port("POSTGRES_PORT", 5432),
            user=self.text("POSTGRES_USER", "postgres"),
            password=self.secret("POSTGRES_PASSWORD", "postgres"),
            database=self.text("POSTGRES_DB", "cht_sync"),
        )

    @property
    def dbt_postgres_overrides(self) -> dict[str, str]:
        """``DBT_POSTGRES_USER``, ``_PASSWORD`` and ``_HOST`` where set, by field of :class:`PostgresSettings`."""
        values = {
            "user": self.text("DBT_POSTGRES_USER"),
            "password": self.secret("DBT_POSTGRES_PASSWORD"),
            "host": self.text("DBT_POSTGRES_HOST"),
        }
        return {key: value for key, value in values.items() if value}

    @property
    def postgres_tls(self) -> dict[str, str]:
        """``POSTGRES_SSLMODE``, ``_SSLROOTCERT``, ``_SSLCERT`` and ``_SSLKEY`` where set, by libpq's names."""
        return self._tls("POSTGRES")

    @property
    def dbt_postgres_tls(self) -> dict[str, str]:
        """The same of ``DBT_POSTGRES_*``, which come before those of :attr:`postgres_tls` for the models' role."""
        return self._tls("DBT_POSTGRES")

    def _tls(self, prefix: str) -> dict[str, str]:
        names = {parameter: f"{prefix}_{parameter.upper()}" for parameter in SSL_PARAMETERS}
        found = {parameter: value for parameter, name in names.items() if (value := self.text(name))}
        if found.get("sslmode", "prefer") not in SSL_MODES:
            raise SettingsError(
                f"{names['sslmode']}={found['sslmode']!r} is unknown: use one of {', '.join(SSL_MODES)}.",
                names["sslmode"],
            )
        return found

    @property
    def couchdb_tls(self) -> dict[str, str]:
        """``COUCHDB_CA_BUNDLE``, ``_CLIENT_CERT`` and ``_CLIENT_KEY`` where set, as a connection's extra has them."""
        names = {"verify": "COUCHDB_CA_BUNDLE", "cert": "COUCHDB_CLIENT_CERT", "key": "COUCHDB_CLIENT_KEY"}
        found = {key: value for key, name in names.items() if (value := self.text(name))}
        if "key" in found and "cert" not in found:
            raise SettingsError(
                f"COUCHDB_CLIENT_KEY={found['key']!r} is of no use alone: set COUCHDB_CLIENT_CERT too.",
                "COUCHDB_CLIENT_KEY",
            )
        return found

    @property
    def raw_table(self) -> RawTable:
        """The table of documents; both names are used as they are, quoted."""
        return RawTable(
            self._schema("POSTGRES_SCHEMA", "v1"),
            # Its companions (couchdb_progress...) have fixed names in the same schema.
            self.identifier("POSTGRES_TABLE", "couchdb"),
            self.tombstone_bodies,
        )

    @property
    def tombstone_bodies(self) -> bool:
        """``CHT_TOMBSTONE_BODIES``: ``keep`` stores deleted documents whole, ``stub`` (default) only that they are."""
        value = self.text("CHT_TOMBSTONE_BODIES", "stub").lower()
        if value not in {"stub", "keep"}:
            raise SettingsError(
                f"CHT_TOMBSTONE_BODIES={value!r} is unknown: use 'stub' or 'keep'.", "CHT_TOMBSTONE_BODIES"
            )
        return value == "keep"

    def _schema(self, name: str, default: str) -> str:
        """Source: https://www.postgresql.org/docs/current/sql-createschema.html"""
        value = self.identifier(name, default)
        if value.startswith("pg_") or value == "information_schema":
            raise SettingsError(
                f"{name}={value!r} cannot be used: PostgreSQL keeps information_schema and names that begin with pg_"
                " for itself; give the schema another name.",
                name,
            )
        return value

    @property
    def couchdb_databases(self) -> list[str]:
        """``COUCHDB_DBS``, separated by commas or white space, each once, in order."""
        databases = self.words("COUCHDB_DBS")
        if not databases:
            raise SettingsError(
                "COUCHDB_DBS is empty: set it to the CouchDB databases to copy, for example"
                " COUCHDB_DBS='medic, medic-sentinel, medic-users-meta'.",
                "COUCHDB_DBS",
            )
        return databases

    @property
    def couchdb_conn_ids(self) -> list[str]:
        """``CHT_COUCHDB_CONN_IDS``: Airflow connections, one for each CouchDB server; ``cht_couchdb`` alone."""
        return self.words("CHT_COUCHDB_CONN_IDS") or [COUCHDB_CONN_ID]


def is_near(host: str) -> bool:
    """Whether a CouchDB server is on this machine or next to it, so that https is not taken for granted.

    That is a loopback address, or a name without a dot, as services of Docker Compose have it.

    :param host: a name or address; with scheme, port and path or without.
    """
    try:
        name = urlsplit(host if "//" in host else f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        # Digits alone are an address in other clothes, and there are more dots than that of ASCII.
        bare = re.fullmatch(r"[a-z0-9_-]+", name) and not re.fullmatch(r"0x[0-9a-f]*|[0-9]+", name)
        return bool(bare) or name == "localhost."
