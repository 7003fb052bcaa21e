"""Every environment variable of the project, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cht_sync.environment import Environment
from cht_sync.errors import SettingsError
from cht_sync.page import MEGABYTE

COUCHDB_CONN_ID = "cht_couchdb"
POSTGRES_CONN_ID = "cht_postgres"
DBT_POSTGRES_CONN_ID = "cht_postgres_dbt"
DEFAULT_SCHEDULE = "* * * * *"
# Of Airflow's presets croniter knows the others.
# Source: https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/cron.html#cron-presets
NOT_IN_CRONITER = {"@continuous", "@once", "@quarterly"}
REPOSITORY = Path(__file__).resolve().parents[2]
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
    """Where the documents are: ``POSTGRES_SCHEMA`` and ``POSTGRES_TABLE``."""

    schema: str
    table: str


class Settings(Environment):
    """The project's settings; each is read and checked when it is asked for.

    :param environ: the variables; ``os.environ`` by default.
    :raises SettingsError: from each property whose variable has a value that cannot be used.
    """

    def check(self) -> None:
        """Reads every property but the databases, which an Airflow connection may name instead.

        :raises SettingsError: for the first that cannot be used.
        """
        for name, member in vars(type(self)).items():
            if isinstance(member, property) and name != "couchdb_databases":
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

    # --- servers -------------------------------------------------------------------------------

    @property
    def couchdb(self) -> CouchDBSettings:
        """The CouchDB server of ``COUCHDB_HOST``, ``_PORT``, ``_SECURE``, ``_USER``, ``_PASSWORD``."""
        return CouchDBSettings(
            host=self.text("COUCHDB_HOST", "couchdb"),
            port=self.port("COUCHDB_PORT", 5984),
            secure=self.flag("COUCHDB_SECURE", False),
            user=self.text("COUCHDB_USER", "medic"),
            password=self.text("COUCHDB_PASSWORD", "password"),
        )

    @property
    def postgres(self) -> PostgresSettings:
        """The role that writes the raw tables."""
        return PostgresSettings(
            host=self.text("POSTGRES_HOST", "postgres"),
            port=self.port("POSTGRES_PORT", 5432),
            user=self.text("POSTGRES_USER", "postgres"),
            password=self.text("POSTGRES_PASSWORD", "postgres"),
            database=self.text("POSTGRES_DB", "cht_sync"),
        )

    @property
    def dbt_postgres_overrides(self) -> dict[str, str]:
        """``DBT_POSTGRES_USER``, ``_PASSWORD`` and ``_HOST`` where set, by field of :class:`PostgresSettings`."""
        names = {"user": "DBT_POSTGRES_USER", "password": "DBT_POSTGRES_PASSWORD", "host": "DBT_POSTGRES_HOST"}
        return {key: value for key, name in names.items() if (value := self.text(name))}

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
            self.identifier("POSTGRES_SCHEMA", "v1"),
            # Its companions (couchdb_progress...) have fixed names in the same schema.
            self.identifier("POSTGRES_TABLE", "couchdb"),
        )

    @property
    def couchdb_databases(self) -> list[str]:
        """``COUCHDB_DBS``, separated by commas or white space, each once, in order."""
        databases = self.words("COUCHDB_DBS")
        if not databases:
            raise SettingsError(
                "COUCHDB_DBS is empty: set it to the CouchDB databases to copy, for example"
                " COUCHDB_DBS='medic, medic-sentinel'.",
                "COUCHDB_DBS",
            )
        return databases

    @property
    def couchdb_conn_ids(self) -> list[str]:
        """``CHT_COUCHDB_CONN_IDS``: Airflow connections, one for each CouchDB server; ``cht_couchdb`` alone."""
        return self.words("CHT_COUCHDB_CONN_IDS") or [COUCHDB_CONN_ID]

    # --- the sync ------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """``BATCH_SIZE``: at most so many changes in one page, default 1000."""
        return self.number("BATCH_SIZE", 1000, low=1, high=100_000)

    @property
    def max_page_bytes(self) -> int:
        """``CHT_SYNC_MAX_MB``: megabytes read into memory at most, of a page or a document, default 64."""
        return self.number("CHT_SYNC_MAX_MB", 64, low=1, high=250) * MEGABYTE

    @property
    def schedule(self) -> str | None:
        """``CHT_SYNC_SCHEDULE``: a cron expression or preset, default every minute; ``none`` for by hand only."""
        return self._schedule("CHT_SYNC_SCHEDULE", DEFAULT_SCHEDULE)

    def _schedule(self, name: str, default: str) -> str | None:
        from croniter import croniter

        value = self.text(name, default)
        if value.lower() in {"none", "@none"}:
            return None
        if value not in NOT_IN_CRONITER and not croniter.is_valid(value):
            raise SettingsError(
                f"{name}={value!r} is no cron expression: use one such as '*/5 * * * *',"
                " a preset such as '@hourly' or '@continuous', or 'none'.",
                name,
            )
        return value

    @property
    def time_budget(self) -> int:
        """``CHT_SYNC_TIME_BUDGET``: seconds after which a source's task hands over to the models, default 300."""
        return self.number("CHT_SYNC_TIME_BUDGET", 300, low=1, high=86_400)

    @property
    def run_timeout(self) -> int:
        """``CHT_SYNC_TIMEOUT``: minutes after which Airflow ends a whole run, default 120."""
        return self.number("CHT_SYNC_TIMEOUT", 120, low=1, high=10_080)

    # --- the dbt side --------------------------------------------------------------------------

    @property
    def dbt_schema(self) -> str:
        """``DBT_POSTGRES_SCHEMA``: the schema of the models, default the raw schema."""
        return self.identifier("DBT_POSTGRES_SCHEMA", self.raw_table.schema)

    @property
    def dbt_threads(self) -> int:
        """The largest number of ``DBT_THREAD_COUNT``: models built at once, default 1."""
        return max(self.dbt_thread_counts)

    @property
    def dbt_thread_counts(self) -> list[int]:
        """``DBT_THREAD_COUNT`` for each group of :attr:`dbt_selectors`: one number for all, or one each, by ``;``."""
        name, groups = "DBT_THREAD_COUNT", max(len(self.dbt_selectors), 1)
        values = [part.strip() for part in self.text(name, "1").split(";")]
        if len(values) not in {1, groups}:
            raise SettingsError(
                f"{name}={self.text(name)!r} holds {len(values)} numbers, but DBT_SELECTOR makes {groups} group(s):"
                " give one number for all, or one for each, separated by ';'.",
                name,
            )
        counts = [Environment({name: value}).number(name, 1, low=1, high=64) for value in values]
        return counts * groups if len(counts) == 1 else counts

    @property
    def dbt_batch_size(self) -> int:
        """``DBT_BATCH_SIZE``: documents a run models at most, 0 (default) for all."""
        return self.number("DBT_BATCH_SIZE", 0, low=0, high=2**31 - 1)

    @property
    def models_time_budget(self) -> int:
        """``CHT_MODELS_TIME_BUDGET``: seconds after which a run of the models begins no further batch, default 600."""
        return self.number("CHT_MODELS_TIME_BUDGET", 600, low=1, high=86_400)

    @property
    def most_drop(self) -> int:
        """``CHT_MODELS_MAX_DROP``: percent of its rows that a model may lose from run to run, default 20."""
        return self.number("CHT_MODELS_MAX_DROP", 20, low=0, high=100)

    @property
    def dbt_selector(self) -> str:
        """``DBT_SELECTOR`` as one dbt ``--select`` expression: all groups together, default everything."""
        return " ".join(self.dbt_selectors)

    @property
    def dbt_selectors(self) -> list[str]:
        """The groups of ``DBT_SELECTOR``, which are separated by ``;``; none for everything."""
        return [part.strip() for part in self.text("DBT_SELECTOR").split(";") if part.strip()]

    @property
    def models_place(self) -> str:
        """``CHT_MODELS``: ``inline`` (default), models within ``cht_sync``; ``asset``, in the DAG ``cht_models``."""
        value = self.text("CHT_MODELS", "inline").lower()
        if value not in {"inline", "asset"}:
            raise SettingsError(f"CHT_MODELS={value!r} is unknown: use inline or asset.", "CHT_MODELS")
        return value

    @property
    def models_schedule(self) -> str | None:
        """``CHT_MODELS_SCHEDULE``: when ``cht_models`` looks without an event, default every 10 minutes."""
        value = self._schedule("CHT_MODELS_SCHEDULE", "*/10 * * * *")
        if value in {"@once", "@continuous"}:
            raise SettingsError(
                f"CHT_MODELS_SCHEDULE={value!r} cannot be used: give a cron expression, or none for events alone.",
                "CHT_MODELS_SCHEDULE",
            )
        return value

    @property
    def models_timeout(self) -> int:
        """Minutes after which the models are ended: ``CHT_SYNC_TIMEOUT``; in ``cht_models`` its own setting.

        ``CHT_MODELS_TIMEOUT``, default 1440.
        """
        own = self.number("CHT_MODELS_TIMEOUT", 1440, low=1, high=10_080)
        return own if self.models_place == "asset" else self.run_timeout

    @property
    def data_tests_schedule(self) -> str | None:
        """``CHT_DATA_TESTS_SCHEDULE``: when the data tests run, default daily; ``none`` for by hand only."""
        return self._schedule("CHT_DATA_TESTS_SCHEDULE", "@daily")

    @property
    def models_mode(self) -> str:
        """``CHT_MODELS_EXECUTION``: ``watcher`` (one dbt process), ``local`` (one each) or ``auto`` (default)."""
        value = self.text("CHT_MODELS_EXECUTION", "auto").lower()
        if value not in {"auto", "watcher", "local"}:
            raise SettingsError(
                f"CHT_MODELS_EXECUTION={value!r} is unknown: use auto, watcher or local.", "CHT_MODELS_EXECUTION"
            )
        return value

    @property
    def dbt_local_path(self) -> str:
        """``DBT_LOCAL_PATH``: a folder that holds a dbt project; the first choice where set."""
        return self.text("DBT_LOCAL_PATH")

    @property
    def dbt_tarball_url(self) -> str:
        """``DBT_PACKAGE_TARBALL_URL``: where a dbt package is to be downloaded; the second choice."""
        return self.text("DBT_PACKAGE_TARBALL_URL")

    @property
    def pipeline_branch_url(self) -> str:
        """``CHT_PIPELINE_BRANCH_URL``: a git URL with ``#branch``, ``#tag`` or ``#commit``; the third choice."""
        return self.text("CHT_PIPELINE_BRANCH_URL")

    @property
    def pipeline_schedule(self) -> str | None:
        """``CHT_PIPELINE_SCHEDULE``: when a new version of the dbt project is looked for, default every 10 minutes."""
        return self._schedule("CHT_PIPELINE_SCHEDULE", "*/10 * * * *")

    @property
    def pipeline_timeout(self) -> int:
        """``CHT_PIPELINE_TIMEOUT``: minutes after which a deployment with its rebuild is ended, default 1440."""
        return self.number("CHT_PIPELINE_TIMEOUT", 1440, low=1, high=10_080)

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

    @property
    def pipeline_dir(self) -> Path:
        """``CHT_PIPELINE_DIR``: the folder of the installed dbt project, default ``$AIRFLOW_HOME/cht_pipeline``."""
        name, below = "CHT_PIPELINE_DIR", ""
        if not self.text(name):
            name, below = "AIRFLOW_HOME", "cht_pipeline"
        value = self.text(name, "~/airflow")
        try:
            return Path(value).expanduser() / below
        except RuntimeError:
            raise SettingsError(
                f"{name}={value!r} cannot be used: there is no such home; give a folder by its full path.", name
            ) from None

    @property
    def docs_dir(self) -> Path:
        """Where the documentation of the models is published, beside the versions of the project."""
        return self.pipeline_dir / "docs"
