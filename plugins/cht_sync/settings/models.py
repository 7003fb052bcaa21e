"""The variables of the dbt side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cht_sync.common.units import MEGABYTE
from cht_sync.errors import SettingsError
from cht_sync.settings.environment import Environment
from cht_sync.settings.sync import SyncSettings

TEAM_PREFIX = "CHT_DBT_ENV_"
# What dbt gets from elsewhere, or what decides how a program runs.
_NOT_A_TEAMS = re.compile(
    r"(ROOT_|DBT_)?POSTGRES_|COSMOS_|LD_|DYLD_|PYTHON|GIT_|SSH_|SSL_CERT_|LC_|PG[A-Z]+$"
    r"|(PATH|HOME|USER|LOGNAME|SHELL|LANG|TZ|TMPDIR|DO_NOT_TRACK|DBT_SEND_ANONYMOUS_USAGE_STATS)$"
)


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """How large a dbt project may be, with its packages: ``CHT_PIPELINE_MAX_MB``, ``CHT_PIPELINE_MAX_FILES``.

    :param most_bytes: of all files together, of a download, and of what git fetches.
    :param most_files: files and folders.
    """

    most_bytes: int = 500 * MEGABYTE
    most_files: int = 50_000

    @property
    def too_large(self) -> str:
        """What is said of a project with more bytes."""
        return f"it is larger than CHT_PIPELINE_MAX_MB={self.most_bytes // MEGABYTE} allows"

    @property
    def too_many(self) -> str:
        """What is said of a project with more files."""
        return f"it has more files and folders than CHT_PIPELINE_MAX_FILES={self.most_files} allows"


class ModelSettings(SyncSettings):
    """Which models, from where, when and how."""

    @property
    def dbt_schema(self) -> str:
        """``DBT_POSTGRES_SCHEMA``: the schema of the models, default the raw schema."""
        return self._schema("DBT_POSTGRES_SCHEMA", self.raw_table.schema)

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
    def dbt_groups(self) -> list[str]:
        """The groups of models by their selector, as their deployments are recorded: one, empty, for everything."""
        return self.dbt_selectors or [""]

    @property
    def models_place(self) -> str:
        """``CHT_MODELS``: ``inline`` (default), models within ``cht_sync``; ``asset``, in the DAG ``cht_models``."""
        value = self.text("CHT_MODELS", "inline").lower()
        if value not in {"inline", "asset"}:
            raise SettingsError(f"CHT_MODELS={value!r} is unknown: use inline or asset.", "CHT_MODELS")
        return value

    @property
    def models_dag(self) -> str:
        """The DAG that runs the models: ``cht_sync``, or ``cht_models`` where ``CHT_MODELS`` is ``asset``."""
        return "cht_models" if self.models_place == "asset" else "cht_sync"

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
    def snapshots_schedule(self) -> str | None:
        """``CHT_SNAPSHOTS_SCHEDULE``: when the snapshots are taken, default daily; ``none`` for by hand only."""
        return self._schedule("CHT_SNAPSHOTS_SCHEDULE", "@daily")

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
        """``DBT_LOCAL_PATH``: a folder that holds a dbt project; the first choice, if it exists or no other is set."""
        return self.text("DBT_LOCAL_PATH")

    @property
    def dbt_tarball_url(self) -> str:
        """``DBT_PACKAGE_TARBALL_URL``: where a dbt package is to be downloaded; the third choice."""
        return self.text("DBT_PACKAGE_TARBALL_URL")

    @property
    def pipeline_branch_url(self) -> str:
        """``CHT_PIPELINE_BRANCH_URL``: a git URL with ``#branch``, ``#tag`` or ``#commit``; the second choice."""
        return self.text("CHT_PIPELINE_BRANCH_URL")

    @property
    def pipeline_token(self) -> str:
        """``CHT_PIPELINE_TOKEN``: token, or ``user:password``, for the http(s) address of the dbt project."""
        return self.secret("CHT_PIPELINE_TOKEN")

    @property
    def pipeline_schedule(self) -> str | None:
        """``CHT_PIPELINE_SCHEDULE``: when a new version of the dbt project is looked for, default every 10 minutes."""
        return self._schedule("CHT_PIPELINE_SCHEDULE", "*/10 * * * *")

    @property
    def pipeline_timeout(self) -> int:
        """``CHT_PIPELINE_TIMEOUT``: minutes after which a deployment with its rebuild is ended, default 1440."""
        return self.number("CHT_PIPELINE_TIMEOUT", 1440, low=1, high=10_080)

    @property
    def project_limits(self) -> ProjectLimits:
        """``CHT_PIPELINE_MAX_MB`` (default 500) and ``CHT_PIPELINE_MAX_FILES`` (default 50,000): how large the dbt
        project may be with its packages, and what is downloaded for it.
        """
        return ProjectLimits(
            most_bytes=self.number("CHT_PIPELINE_MAX_MB", 500, low=1, high=100_000) * MEGABYTE,
            most_files=self.number("CHT_PIPELINE_MAX_FILES", 50_000, low=1, high=10_000_000),
        )

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
    def dbt_team_variables(self) -> dict[str, str]:
        """``CHT_DBT_ENV_<NAME>``: a variable of the team's own, which the project reads as ``env_var('<NAME>')``."""
        found = {name.removeprefix(TEAM_PREFIX): self.text(name) for name in self.names(TEAM_PREFIX)}
        for name in found:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or _NOT_A_TEAMS.match(name):
                raise SettingsError(
                    f"{TEAM_PREFIX}{name} cannot be used: {name or 'nothing'!r} after {TEAM_PREFIX} is no name of a"
                    " variable, or one that dbt gets from elsewhere; choose another name for it, in the project too.",
                    f"{TEAM_PREFIX}{name}",
                )
        return found

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
