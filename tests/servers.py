"""Real servers in place of the embedded ones: those that ``TEST_COUCHDB_URL`` and ``TEST_POSTGRES_URL`` name.

Whatever a session of tests makes on a server has a name from :func:`mine`, so that two sessions on one server do not
meet, and is dropped at the end of the session.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg2
import requests
from psycopg2 import sql

from tests.faults.proxy import FaultProxy

COUCHDB_URL, POSTGRES_URL = "TEST_COUCHDB_URL", "TEST_POSTGRES_URL"
GIVEN = {"couchdb": COUCHDB_URL, "postgres": POSTGRES_URL}
MARK = secrets.token_hex(3)
# What is written with it is in every copy before a cluster of three answers: no reader then sees the past. One server
# alone has no use for it.
EVERYWHERE = {"w": "3"}


def mine(name: str) -> str:
    """A name for a database or a role that no other session of tests has.

    :param name: what it would be called otherwise.
    """
    return f"{name}_{MARK}"


def given(kind: str) -> str | None:
    """The address of the real server, where the environment names one.

    :param kind: ``couchdb`` or ``postgres``.
    """
    return os.environ.get(GIVEN[kind], "").strip() or None


@dataclass(frozen=True)
class Address:
    """Where a server is, and who may do everything there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str, port: int) -> Address:
        """Takes a URL apart.

        :param url: with user and password, each quoted where needed.
        :param port: what it means without one.
        """
        parts = urlsplit(url.strip())
        assert parts.hostname, "an address of a server is missing or is no URL"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, parts.port or port, user, password, parts.scheme == "https")


class Balancer(FaultProxy):
    """Leads each connection to the next of several servers, as what stands before a cluster does.

    :param addresses: of the servers.
    """

    def __init__(self, addresses: list[Address]) -> None:
        super().__init__(addresses[0].host, addresses[0].port)
        self._turn = itertools.cycle(addresses)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = next(self._turn)
        return await asyncio.open_connection(address.host, address.port, ssl=address.tls or None)


class GivenCouchDB:
    """A real CouchDB, or several nodes of one in turn, at an address of this machine, where the embedded one is too.

    :param urls: of the nodes, separated by commas; the first says user and password.
    """

    host = "127.0.0.1"

    def __init__(self, urls: str) -> None:
        nodes = [Address.parse(url, 5984) for url in urls.split(",") if url.strip()]
        self.user, self.password = nodes[0].user, nodes[0].password
        self._balancer = Balancer(nodes)

    @property
    def port(self) -> int:
        """The port on this machine."""
        return self._balancer.port

    @property
    def url(self) -> str:
        """Address without credentials."""
        return f"http://{self.host}:{self.port}"

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, as `requests` takes them."""
        return self.user, self.password

    def __enter__(self) -> GivenCouchDB:
        self._balancer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._clean()
        finally:
            self._balancer.__exit__(kind, error, trace)

    def _clean(self) -> None:
        with requests.Session() as session:
            session.auth = self.auth
            listed = session.get(f"{self.url}/_all_dbs", timeout=60)
            listed.raise_for_status()
            for name in listed.json():
                if MARK in name:
                    session.delete(f"{self.url}/{quote(name, safe='')}", timeout=60).raise_for_status()


class GivenPostgres:
    """A real PostgreSQL server.

    :param url: ``postgresql://user:password@host:port``; the user may create databases and roles.
    """

    def __init__(self, url: str) -> None:
        address = Address.parse(url, 5432)
        self.host, self.port, self.user, self.password = address.host, address.port, address.user, address.password

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database, password included."""
        account = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{account}@{self.host}:{self.port}/{quote(database)}"

    def create_database(self, name: str) -> None:
        """Creates a database unless it exists.

        :param name: from :func:`mine`.
        """
        assert MARK in name, f"{name!r} would stay on the server: it is no name of this session"
        with self._cursor() as cursor:
            cursor.execute("select from pg_database where datname = %s", (name,))
            if not cursor.rowcount:
                # A server may take another encoding by default; JSON is UTF-8.
                statement = sql.SQL("create database {} template template0 encoding 'UTF8'")
                cursor.execute(statement.format(sql.Identifier(name)))

    def __enter__(self) -> GivenPostgres:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cursor() as cursor:
            for query, statement in (
                ("select datname from pg_database where strpos(datname, %s) > 0", "drop database {} with (force)"),
                ("select rolname from pg_roles where strpos(rolname, %s) > 0", "drop role {}"),
            ):
                cursor.execute(query, (MARK,))
                for (name,) in cursor.fetchall():
                    cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.dsn())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            yield cursor
