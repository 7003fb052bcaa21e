"""The settings that name the servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from cht_sync.errors import SettingsError
from cht_sync.settings.environment import Environment
from cht_sync.settings.setting import (
    Choice,
    Flag,
    Identifier,
    Line,
    Port,
    SchemaName,
    Secret,
    Section,
    Setting,
    Text,
    Words,
)

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
    """Where the documents are, and what of deleted ones.

    :param tombstone_bodies: whether deleted documents keep the fields that CouchDB hands out of them; by default a stub
        is stored.
    """

    schema: str
    table: str
    tombstone_bodies: bool = False


@dataclass(frozen=True)
class Tls(Setting[dict[str, str]]):
    """``<name>_SSLMODE``, ``_SSLROOTCERT``, ``_SSLCERT`` and ``_SSLKEY`` where set, by libpq's names.

    :param abouts: the help of each parameter.
    """

    _: KW_ONLY
    abouts: Mapping[str, str] = field(default_factory=dict)

    def _parts(self) -> Iterator[tuple[str, Setting[str]]]:
        for parameter in SSL_PARAMETERS:
            name, about = f"{self.name}_{parameter.upper()}", self.abouts.get(parameter, "")
            if parameter == "sslmode":
                yield parameter, Choice(name, "", SSL_MODES, about=about)
            else:
                yield parameter, Text(name, about=about)

    def read(self, environment: Environment) -> dict[str, str]:
        return {parameter: value for parameter, part in self._parts() if (value := part.read(environment))}

    def lines(self) -> Iterator[Line]:
        for _, part in self._parts():
            yield from part.lines()


class CouchDBSection(Section):
    """The server of the documents, where no Airflow connection names it."""

    title = "CouchDB: or the Airflow connection `cht_couchdb` (type HTTP)"
    # fmt: off
    _couchdb_host = Text(
        "COUCHDB_HOST", "couchdb", template="",
        about="Without a host, `make demo` starts a server of its own and fills it with generated documents; an"
        " Airflow of your own takes the name couchdb.",
    )
    _couchdb_port = Port("COUCHDB_PORT", 5984)
    _couchdb_secure = Flag(
        "COUCHDB_SECURE",
        about="true for https, false for http, which sends the password as plain text. Without it https, save where"
        " the host is this machine (localhost, 127.0.0.1) or a name without a dot, as in Docker Compose.",
    )
    _couchdb_user = Text("COUCHDB_USER", "medic")
    _couchdb_password = Secret(
        "COUCHDB_PASSWORD", "password",
        about_file="Or a file that holds nothing but the password, as secrets of Docker and Kubernetes are mounted; so"
        " for each password.",
    )
    _couchdb_ca_bundle = Text(
        "COUCHDB_CA_BUNDLE",
        about="With https: file of the CAs to trust in place of those that come with Python's certifi; a client"
        " certificate.",
    )
    _couchdb_client_cert = Text("COUCHDB_CLIENT_CERT")
    _couchdb_client_key = Text("COUCHDB_CLIENT_KEY")
    _couchdb_databases = Words(
        "COUCHDB_DBS", "", template="medic, medic-sentinel, medic-users-meta",
        about="The databases to copy, separated by commas or spaces. Required, unless a connection names its own:"
        " without it only Docker Compose takes these three. Telemetry and feedback are in medic-users-meta, logins in"
        " _users. Where two hold the same _id, the one that is named first has the row.",
    )
    couchdb_conn_ids = Words(
        "CHT_COUCHDB_CONN_IDS", COUCHDB_CONN_ID, template="",
        about='Several CouchDB servers: ids of Airflow connections, each with its databases as "databases" in its'
        " extra. Their order counts as that of the databases does.",
    )
    # fmt: on

    @property
    def couchdb(self) -> CouchDBSettings:
        """The CouchDB server; without ``COUCHDB_SECURE`` it is https, save for one that :func:`is_near`."""
        host, secure = self._couchdb_host, self._couchdb_secure
        near = is_near(host)
        if host.lower().startswith("http://") and not near and secure is not False:
            raise CouchDBSection._couchdb_host.refused(
                host,
                "would send the password as plain text: give the host without http://; where plain text is wanted, set"
                " COUCHDB_SECURE=false.",
            )
        return CouchDBSettings(
            host=host,
            port=self._couchdb_port,
            secure=not near if secure is None else secure,
            user=self._couchdb_user,
            password=self._couchdb_password,
        )

    @property
    def couchdb_tls(self) -> dict[str, str]:
        """The CAs and the client certificate where set, as a connection's extra has them."""
        values = {"verify": self._couchdb_ca_bundle, "cert": self._couchdb_client_cert, "key": self._couchdb_client_key}
        found = {key: value for key, value in values.items() if value}
        if "key" in found and "cert" not in found:
            raise CouchDBSection._couchdb_client_key.refused(
                found["key"], "is of no use alone: set COUCHDB_CLIENT_CERT too."
            )
        return found

    @property
    def couchdb_databases(self) -> list[str]:
        """The databases to copy, at least one."""
        databases = self._couchdb_databases
        if not databases:
            raise SettingsError(
                "COUCHDB_DBS is empty: set it to the CouchDB databases to copy, for example"
                " COUCHDB_DBS='medic, medic-sentinel, medic-users-meta'.",
                "COUCHDB_DBS",
            )
        return databases


class PostgresSection(Section):
    """The database, its roles and the table of documents."""

    title = "PostgreSQL: or the Airflow connection `cht_postgres` (type Postgres)"
    # fmt: off
    _postgres_host = Text(
        "POSTGRES_HOST", "postgres", template="",
        about="Without a host, `make demo` starts a server of its own; an Airflow of your own takes the name postgres.",
    )
    _postgres_port = Port("POSTGRES_PORT", 5432)
    _postgres_user = Text("POSTGRES_USER", "postgres")
    _postgres_password = Secret("POSTGRES_PASSWORD", "postgres")
    _postgres_db = Text("POSTGRES_DB", "cht_sync")
    _raw_schema = SchemaName(
        "POSTGRES_SCHEMA", "v1",
        about="Schema and table of the documents; couchdb_progress and other bookkeeping live in the same schema.",
    )
    # Its companions (couchdb_progress...) have fixed names in the same schema.
    _raw_table = Identifier("POSTGRES_TABLE", "couchdb")
    postgres_tls = Tls(
        "POSTGRES",
        abouts={
            "sslmode": "TLS, by the names of libpq. Without a mode, a server elsewhere that offers TLS has to prove who"
            " it is (verify-full, by the CAs this machine trusts); one that offers none is used with a warning."
            " verify-full demands TLS.",
            "sslrootcert": "File of the CA that signed the server's certificate.",
            "sslcert": "Client certificate and key, where the server demands one.",
        },
    )
    _dbt_host = Text(
        "DBT_POSTGRES_HOST",
        about="A role of its own for the models: or the Airflow connection `cht_postgres_dbt`. Default: as above.",
    )
    _dbt_user = Text("DBT_POSTGRES_USER")
    _dbt_password = Secret("DBT_POSTGRES_PASSWORD")
    # They come before those of the other role.
    dbt_postgres_tls = Tls("DBT_POSTGRES")
    _dbt_schema = SchemaName(
        "DBT_POSTGRES_SCHEMA",
        about="Schema of the models. cht-pipeline 2.x needs the schema of the documents, the default.",
    )
    # fmt: on

    @property
    def postgres(self) -> PostgresSettings:
        """The role that writes the raw tables."""
        return PostgresSettings(
            host=self._postgres_host,
            port=self._postgres_port,
            user=self._postgres_user,
            password=self._postgres_password,
            database=self._postgres_db,
        )

    @property
    def dbt_postgres_overrides(self) -> dict[str, str]:
        """What the role of the models has of its own, by field of :class:`PostgresSettings`."""
        values = {"user": self._dbt_user, "password": self._dbt_password, "host": self._dbt_host}
        return {key: value for key, value in values.items() if value}

    @property
    def dbt_schema(self) -> str:
        """The schema of the models, by default that of the documents."""
        return self._dbt_schema or self._raw_schema

    @property
    def data_record_uri(self) -> str | None:
        """The asset of the model ``data_record``; None where a connection of Airflow's names the host."""
        host = self._dbt_host or self.text("POSTGRES_HOST")
        place = f"{host}:{self._postgres_port}/{self._postgres_db}/{self.dbt_schema}"
        return f"postgres://{place}/data_record" if host else None


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
