"""Which CouchDB and Postgres the demo uses: those that the settings name, else embedded ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from include.demo.errors import DemoError
from include.demo.fill import DATABASES
from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer

RAW_DATABASE = "cht_sync"
METADATA_DATABASE = "airflow"
PASSWORDS = ("COUCHDB_PASSWORD", "POSTGRES_PASSWORD", "DBT_POSTGRES_PASSWORD")


# Variables of the project, of the demo and of Airflow's connections to the servers.
OURS = (
    "COUCHDB_", "POSTGRES_", "ROOT_POSTGRES_", "DBT_", "CHT_", "BATCH_SIZE", "AIRFLOW_CONN_CHT_",
    "SUPERSET_", "DOCUMENTS", "SEED", "ONESHOT", "UI_PORT", "DEMO_",
)  # fmt: skip


def foreign(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without any setting of this project, for what must not reach a person's real servers.

    :param environ: the environment.
    """
    kept = {"CHT_DEMO_CACHE"}
    return {name: value for name, value in environ.items() if name in kept or not name.startswith(OURS)}


def settings_of(env_file: Path) -> dict[str, str]:
    """The variables of the environment, and those of a ``.env`` file that the environment does not set.

    :param env_file: the file; it may be missing.
    :raises DemoError: if a file that should hold a password does not.
    """
    from_file = {name: value for name, value in dotenv_values(env_file).items() if value}
    return _with_passwords({**from_file, **{name: value for name, value in os.environ.items() if value}})


def _with_passwords(settings: dict[str, str]) -> dict[str, str]:
    """Reads the files of passwords, which the demo's own servers would else be asked with."""
    named = [name for name in PASSWORDS if f"{name}_FILE" in settings]
    if not named:
        return settings
    from cht_sync.errors import SettingsError
    from cht_sync.settings.environment import Environment

    try:
        read = {name: Environment(settings).secret(name) for name in named}
    except SettingsError as error:
        raise DemoError(str(error)) from None
    files = {f"{name}_FILE" for name in named}
    return {**{name: value for name, value in settings.items() if name not in files}, **read}


@dataclass
class Servers:
    """The servers of a demo; the embedded ones run until the stack that started them is closed.

    :param settings: environment of the sync, complete.
    :param couchdb: the embedded server; None where the settings name another.
    :param metadata: SQLAlchemy address of Airflow's own database, always embedded.
    """

    settings: dict[str, str]
    couchdb: PouchDBServer | None
    metadata: str

    @classmethod
    def start(cls, folder: Path, settings: dict[str, str], stack: ExitStack) -> Servers:
        """Starts what is not named by the settings.

        :param folder: for the data of embedded servers.
        :param settings: from :func:`settings_of`.
        :param stack: ends the servers when it is closed.
        :raises DemoError: if a server cannot be started.
        """
        postgres = stack.enter_context(PostgresServer(folder / "postgres"))
        postgres.create_database(METADATA_DATABASE)
        account = f"{postgres.user}:{quote(postgres.password, safe='')}@{postgres.host}:{postgres.port}"
        complete = {"COUCHDB_DBS": ", ".join(DATABASES), **settings}
        # Connections of Airflow would win over the servers started here.
        complete = {name: value for name, value in complete.items() if not name.startswith("AIRFLOW_CONN_CHT_")}
        if "POSTGRES_HOST" not in settings:
            database = complete.setdefault("POSTGRES_DB", RAW_DATABASE)
            postgres.create_database(database)
            complete |= {
                "POSTGRES_HOST": postgres.host,
                "POSTGRES_PORT": str(postgres.port),
                "POSTGRES_USER": postgres.user,
                "POSTGRES_PASSWORD": postgres.password,
            }
        couchdb = None
        if "COUCHDB_HOST" not in settings:
            complete.pop("CHT_COUCHDB_CONN_IDS", None)
            couchdb = stack.enter_context(PouchDBServer(folder / "couchdb"))
            complete |= {
                "COUCHDB_HOST": couchdb.host,
                "COUCHDB_PORT": str(couchdb.port),
                "COUCHDB_SECURE": "false",
                "COUCHDB_USER": couchdb.user,
                "COUCHDB_PASSWORD": couchdb.password,
            }
        return cls(complete, couchdb, f"postgresql+psycopg2://{account}/{METADATA_DATABASE}")
