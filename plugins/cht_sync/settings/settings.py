"""Every environment variable of the project, read and checked in one place."""

from __future__ import annotations

from inspect import getmembers
from pathlib import Path

from cht_sync.errors import SettingsError
from cht_sync.settings.alerts import AlertSettings
from cht_sync.settings.models import ProjectLimits
from cht_sync.settings.servers import (
    COUCHDB_CONN_ID,
    DBT_POSTGRES_CONN_ID,
    POSTGRES_CONN_ID,
    SSL_MODES,
    SSL_PARAMETERS,
    CouchDBSettings,
    PostgresSettings,
    RawTable,
)

__all__ = [
    "COUCHDB_CONN_ID",
    "DBT_POSTGRES_CONN_ID",
    "POSTGRES_CONN_ID",
    "REPOSITORY",
    "SSL_MODES",
    "SSL_PARAMETERS",
    "CouchDBSettings",
    "PostgresSettings",
    "ProjectLimits",
    "RawTable",
    "Settings",
]
NOT_FOR_ALL = {"couchdb_databases", "metrics_token"}
REPOSITORY = Path(__file__).resolve().parents[3]


class Settings(AlertSettings):
    """The project's settings; each is read and checked when it is asked for.

    :param environ: the variables; ``os.environ`` by default.
    :raises SettingsError: from each property whose variable has a value that cannot be used.
    """

    def check(self) -> None:
        """Reads every property but the databases, which an Airflow connection may name instead, and the token of
        metrics, which only the API server may read.

        :raises SettingsError: for the first that cannot be used.
        """
        for name, member in getmembers(type(self)):
            if isinstance(member, property) and name not in NOT_FOR_ALL:
                getattr(self, name)

    def usable(self) -> Settings:
        """These settings, with the defaults in place of variables that cannot be used.

        A DAG file must be importable whatever the environment holds; :meth:`check` complains at run time.
        """
        environ = dict(self._environ)
        while True:
            settings = Settings(environ)
            try:
                settings.check()
            except SettingsError as error:
                if environ.pop(error.setting, None) is None:
                    raise
            else:
                return settings
