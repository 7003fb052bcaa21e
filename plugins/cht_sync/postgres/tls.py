"""TLS with Postgres: verified where the server offers it, and what to do where that fails."""

from __future__ import annotations

import logging
import os
import socket
import struct
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from cht_sync.errors import SettingsError, StoreError
from cht_sync.settings.connections import system_bundle, with_extra
from cht_sync.settings.settings import DBT_POSTGRES_CONN_ID, SSL_MODES

log = logging.getLogger(__name__)

# Source: https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-SSLREQUEST
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_OFFERED, _NOT_OFFERED = b"S", b"N"
_FILES = ("sslrootcert", "sslcert", "sslkey")
_LIBPQ_ROOTS = "~/.postgresql/root.crt"


def secured(connection: Connection) -> Connection:
    """The connection with all that libpq has to know about TLS; asks the server where nothing says it.

    :raises SettingsError: if ``sslmode`` is unknown or the file of a certificate cannot be read.
    """
    extra = connection.extra_dejson
    mode = extra.get("sslmode") or ""
    if mode and mode not in SSL_MODES:
        raise SettingsError(f"sslmode {mode!r} {_place(connection)} is unknown: use one of {', '.join(SSL_MODES)}.")
    if mode != "disable":
        for name in _FILES:
            _check_file(connection, name, extra.get(name))
    found = _decided(connection)
    return with_extra(connection, found) if found else connection


def tls_environment(connection: Connection) -> dict[str, str]:
    """The same decision as libpq's variables, for a program whose profile names what the connection says.

    A profile that held it would differ from the one that the project was parsed with, and dbt would parse it again.
    Source: https://www.postgresql.org/docs/current/libpq-envars.html
    """
    return {f"PG{name.upper()}": value for name, value in _decided(connection).items()}


def tls_advice(connection: Connection, text: str) -> str | None:
    """What a person can do about a refusal that has to do with TLS; None for any other."""
    prefix, place = _prefix(connection), _place(connection)
    both = f"set sslcert and sslkey {place}, or {prefix}SSLCERT and {prefix}SSLKEY"
    advice = {
        "certificate verify failed": f"set sslrootcert {place} or {prefix}SSLROOTCERT to its CA, or"
        f" {prefix}SSLMODE=require to encrypt without checking whom you talk to",
        "does not match host name": "connect by a name that the certificate holds, or, with its own CA as sslrootcert,"
        f" set sslmode {place} or {prefix}SSLMODE to verify-ca to leave the name unchecked",
        "valid client certificate": both,
        "certificate required": both,
        "unknown ca": f"{both} to a certificate that the server's ssl_ca_file vouches for",
        "certificate authentication failed": f"{both} to a certificate whose common name is the role",
        "does not support SSL": f"turn ssl on there, or set sslmode {place} or {prefix}SSLMODE to prefer",
        "private key file": f"correct sslkey {place} or {prefix}SSLKEY",
        "could not read certificate file": f"correct sslcert {place} or {prefix}SSLCERT",
        "root certificate file": f"correct sslrootcert {place} or {prefix}SSLROOTCERT",
    }
    return next((remedy for said, remedy in advice.items() if said in text), None)


def _decided(connection: Connection) -> dict[str, str]:
    """Mode and CAs where neither the connection nor libpq's own variables and files say them."""
    extra = connection.extra_dejson
    mode = extra.get("sslmode") or os.environ.get("PGSSLMODE")
    decided: dict[str, str] = {}
    if not mode and not _left_to_libpq(connection) and _offers_tls(connection):
        mode = decided["sslmode"] = "verify-full"
    named = extra.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if named == "system" or (mode == "verify-full" and not named and not Path(_LIBPQ_ROOTS).expanduser().exists()):
        decided["sslrootcert"] = system_bundle()
    return decided


def _left_to_libpq(connection: Connection) -> bool:
    """Whether the server is on this machine, or libpq alone knows where it is."""
    host = (connection.host or "").strip()
    if not host or "," in host or connection.extra_dejson.get("service"):
        return True
    return host.startswith(("/", "@")) or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host name leads to this machine whatever a name server says."""
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _offers_tls(connection: Connection) -> bool:
    """Asks the server as libpq does before it says who it is."""
    extra, port = connection.extra_dejson, connection.port or 5432
    host = str(extra.get("hostaddr") or connection.host).strip()
    advice = f"check POSTGRES_HOST and POSTGRES_PORT, or connection {connection.conn_id!r}, and that the server is up"
    try:
        timeout = float(extra.get("connect_timeout") or 10)
        with socket.create_connection((host, port), timeout=timeout if timeout > 0 else None) as probe:
            probe.sendall(_SSL_REQUEST)
            answer = probe.recv(1)
    except (OSError, ValueError) as error:
        text = f"Postgres at {connection.host}:{port} could not be reached ({error}): {advice}."
        raise StoreError(text, passing=True, lost=True) from None
    if answer not in {_OFFERED, _NOT_OFFERED}:
        text = f"{connection.host}:{port} did not answer as Postgres does: {advice}."
        raise StoreError(text, passing=True, lost=True)
    if answer == _NOT_OFFERED:
        _warn_once(f"{connection.host}:{port}", _place(connection), _prefix(connection))
    return answer == _OFFERED


@cache
def _warn_once(server: str, place: str, prefix: str) -> None:
    log.warning(
        "Postgres at %s offers no TLS: passwords and documents go over the network unencrypted. Turn ssl on there;"
        " sslmode=verify-full %s or %sSSLMODE=verify-full then makes sure of it.",
        server, place, prefix,
    )  # fmt: skip


def _check_file(connection: Connection, name: str, value: Any) -> None:
    if not value or (name == "sslrootcert" and value == "system"):
        return
    try:
        with Path(value).open("rb"):
            return
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(
            f"{name} {value!r} {_place(connection)} or in {_prefix(connection)}{name.upper()} cannot be read"
            f" ({reason}): give the path of a PEM file that this process may read."
        ) from None


def _place(connection: Connection) -> str:
    return f"in the extra of connection {connection.conn_id!r}"


def _prefix(connection: Connection) -> str:
    return "DBT_POSTGRES_" if connection.conn_id == DBT_POSTGRES_CONN_ID else "POSTGRES_"
