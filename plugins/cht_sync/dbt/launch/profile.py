"""The dbt profile, made from an Airflow connection when a task runs."""

from __future__ import annotations

import os
from typing import Any

from cosmos.config import ProfileConfig
from cosmos.profiles import PostgresUserPasswordProfileMapping

from cht_sync.dbt.tables.models_zone import models_zone
from cht_sync.postgres.tls import tls_environment
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import DBT_POSTGRES_CONN_ID, Settings

PROFILE = "cht_sync"
TARGET = "airflow"
# Source: https://docs.getdbt.com/docs/core/connect-data-platform/postgres-setup
EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "keepalives_idle", "connect_timeout")


class ModelsProfile(PostgresUserPasswordProfileMapping):
    """Maps the connection of the models' role; it is looked up when dbt starts, never while a DAG is parsed."""

    airflow_param_mapping = {
        **PostgresUserPasswordProfileMapping.airflow_param_mapping,
        **{name: f"extra.{name}" for name in EXTRAS},
    }

    _conn: Any = None

    def __init__(self, profile_args: dict[str, Any]) -> None:
        super().__init__(conn_id=DBT_POSTGRES_CONN_ID, profile_args=profile_args)

    @property
    def conn(self) -> Any:
        """The connection, or what ``DBT_POSTGRES_*`` and ``POSTGRES_*`` say where Airflow has none."""
        if self._conn is None:
            self._conn = dbt_connection()
        return self._conn

    @property
    def env_vars(self) -> dict[str, str]:
        """The password, by name of its variable; empty where the server asks for none."""
        # Where a connection has none libpq, for our own sessions too, takes this one.
        password = self.conn.password or os.environ.get("PGPASSWORD", "")
        return {self.get_env_var_name("password"): password}


def profile_config(settings: Settings, threads: int | None = None) -> ProfileConfig:
    """What Cosmos needs to know of the profile; reads the environment only. ``threads``: None for DBT_THREAD_COUNT."""
    mapping = ModelsProfile({"schema": settings.dbt_schema, "threads": threads or settings.dbt_threads})
    return ProfileConfig(profile_name=PROFILE, target_name=TARGET, profile_mapping=mapping)


def _mapping(settings: Settings) -> ModelsProfile:
    mapping = ModelsProfile({"schema": settings.dbt_schema, "threads": settings.dbt_threads})
    mapping._conn = dbt_connection(settings)
    return mapping


def profile_text(settings: Settings) -> str:
    """The ``profiles.yml`` that tasks will use, without its password, to parse a project with."""
    return _mapping(settings).get_profile_file_contents(PROFILE, TARGET)


def models_password(settings: Settings) -> dict[str, str]:
    """The password of the models' role, by the name that the profile has for it."""
    return _mapping(settings).env_vars


def models_environment(settings: Settings) -> dict[str, str]:
    """The variables dbt runs with: those that models read, with the raw connection's database, and libpq's for TLS and
    the time zone.

    Source: https://www.postgresql.org/docs/current/libpq-envars.html

    :raises StoreError: if the server cannot be asked whether it offers TLS, and in which zone models compute dates.
    """
    zone = {"PGTZ": models_zone(settings)}
    variables = {**settings.dbt_environment, **tls_environment(dbt_connection(settings)), **zone}
    database = postgres_connection(settings).schema
    return {**variables, "POSTGRES_DB": database} if database else variables
