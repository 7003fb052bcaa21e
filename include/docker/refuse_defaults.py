"""Refuses to start with a published default password, with no server named or with logins made for development.

Writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from airflow.configuration import conf
from airflow.sdk import Connection

from cht_sync.errors import SettingsError
from cht_sync.settings.connections import couchdb_connection, dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

KNOWN = {"", "admin", "change-me", "changeme", "cht_sync", "medic", "pass", "password", "postgres", "secret"}
# Hosts that stand for a missing setting: services of the profile `local`.
LOCAL_HOSTS = {"couchdb": "COUCHDB_HOST", "postgres": "POSTGRES_HOST"}
SIMPLE = "SimpleAuthManager"
ACCEPTED = "accept"


def reasons(settings: Settings) -> Iterator[str]:
    """Why the services must not start, each as one sentence.

    :param settings: the environment.
    """
    try:
        named = {
            "COUCHDB_PASSWORD_FILE": [couchdb_connection(each, settings) for each in settings.couchdb_conn_ids],
            "POSTGRES_PASSWORD_FILE": [postgres_connection(settings)],
            "DBT_POSTGRES_PASSWORD_FILE": [dbt_connection(settings)],
        }
    except SettingsError as error:
        yield str(error)
        return
    found = [each for setting, group in named.items() for connection in group for each in _of(connection, setting)]
    yield from dict.fromkeys(found)


def auth_reasons(auth_manager: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Why nobody should log in this way, as one sentence: the simple auth manager keeps its passwords as plain text.

    :param auth_manager: the class that ``core.auth_manager`` names.
    :param environ: the environment, of which ``CHT_SIMPLE_AUTH`` says that it is known and taken.
    """
    said = environ.get("CHT_SIMPLE_AUTH", "").strip()
    if said not in {"", ACCEPTED}:
        yield f"CHT_SIMPLE_AUTH is {said!r}: set it to {ACCEPTED}, or leave it empty."
    elif auth_manager.rpartition(".")[2] == SIMPLE and not said:
        yield (
            f"AIRFLOW_AUTH_MANAGER is Airflow's {SIMPLE}, which is made for development and keeps passwords as"
            " plain text: name that of the provider fab or keycloak (docs/how-to-docker.md, Users), or set"
            f" CHT_SIMPLE_AUTH={ACCEPTED} to use it all the same."
        )


def _of(connection: Connection, setting: str) -> Iterator[str]:
    where = f"{connection.login}@{connection.host} (connection {connection.conn_id!r})"
    if str(connection.host).lower() in LOCAL_HOSTS:
        variable = LOCAL_HOSTS[str(connection.host).lower()]
        yield f"{variable} is not set, or names the server of the profile local: name the real server."
    elif (connection.password or "").strip().lower() in KNOWN or connection.password == connection.login:
        yield (
            f"The password of {where} is empty or a published default: give that role another one, and write it"
            f" into the file that {setting} names."
        )


def main() -> int:
    """Prints the reasons.

    :return: exit code: 1 where there is any.
    """
    found = [*reasons(Settings()), *auth_reasons(conf.get("core", "auth_manager"), os.environ)]
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
