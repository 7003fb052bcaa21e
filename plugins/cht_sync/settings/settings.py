"""Every environment variable of the project, read and checked in one place."""

from __future__ import annotations

from datetime import datetime, timedelta
from inspect import getmembers
from pathlib import Path

from cht_sync.errors import SettingsError
from cht_sync.settings.alerts import AlertsSection, MetricsSection, StatusSection
from cht_sync.settings.models import ModelsSection, ProjectLimits
from cht_sync.settings.reports import ReportSection
from cht_sync.settings.servers import (
    COUCHDB_CONN_ID,
    DBT_POSTGRES_CONN_ID,
    POSTGRES_CONN_ID,
    SSL_MODES,
    SSL_PARAMETERS,
    CouchDBSection,
    PostgresSection,
    RawTable,
)
from cht_sync.settings.setting import NOT_IN_CRONITER, Setting
from cht_sync.settings.sync import ReconcileSection, SyncSection

__all__ = [
    "COUCHDB_CONN_ID",
    "DBT_POSTGRES_CONN_ID",
    "POSTGRES_CONN_ID",
    "REPOSITORY",
    "SSL_MODES",
    "SSL_PARAMETERS",
    "ProjectLimits",
    "RawTable",
    "Settings",
]
# An Airflow connection may name the databases instead, and only the API server may read the token.
NOT_FOR_ALL = {"couchdb_databases", "metrics_token"}
REPOSITORY = Path(__file__).resolve().parents[3]


class Settings(
    CouchDBSection,
    PostgresSection,
    SyncSection,
    ReconcileSection,
    ModelsSection,
    AlertsSection,
    StatusSection,
    MetricsSection,
    ReportSection,
):
    """The sections of settings together, and what several of them decide.

    Each setting is read and checked when it is asked for: one that cannot be used stops nobody who does not need it.

    :param environ: the variables; ``os.environ`` by default.
    :raises SettingsError: from each attribute whose variable has a value that cannot be used.
    """

    @property
    def raw_table(self) -> RawTable:
        """The table of documents; both names are used as they are, quoted."""
        return RawTable(self._raw_schema, self._raw_table, self.tombstone_bodies)

    @property
    def models_timeout(self) -> int:
        """Minutes after which the models are ended: ``CHT_MODELS_TIMEOUT`` in ``cht_models``, else those of the run."""
        own = self.own_models_timeout
        return own if self.models_place == "asset" else self.run_timeout

    @property
    def dbt_environment(self) -> dict[str, str]:
        """The variables that dbt packages for the CHT read with ``env_var()``, each with its default."""
        raw = self.raw_table
        return {
            "POSTGRES_DB": self.postgres.database,
            "POSTGRES_SCHEMA": raw.schema,
            "POSTGRES_TABLE": raw.table,
            "ROOT_POSTGRES_SCHEMA": self.text("ROOT_POSTGRES_SCHEMA", raw.schema),
            "DO_NOT_TRACK": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def read_since(self, now: datetime) -> datetime:
        """Since when a source must have been read: for ``CHT_ALERT_FAILING_MINUTES`` a run has been due.

        With a schedule rarer than that, nobody is missed before the next run.
        """
        from airflow.sdk import timezone
        from croniter import croniter

        limit = now - timedelta(minutes=self.alert_failing_minutes)
        # A trigger that waits for changes looks at each source all the time.
        if self.sync_mode != "schedule" or self.schedule is None or self.schedule in NOT_IN_CRONITER:
            return limit
        # Airflow reads a schedule in its default zone, as it does a time that names none.
        zone = timezone.parse("2000-01-01").tzinfo
        return croniter(self.schedule, limit.astimezone(zone)).get_prev(datetime)

    def check(self) -> None:
        """Reads every setting but those of :data:`NOT_FOR_ALL`; those with ``_`` are read by the properties.

        :raises SettingsError: for the first that cannot be used.
        """
        for name, member in getmembers(type(self)):
            if isinstance(member, (property, Setting)) and not name.startswith("_") and name not in NOT_FOR_ALL:
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
