"""The settings of the dbt side."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from cht_sync.common.units import MEGABYTE
from cht_sync.errors import SettingsError
from cht_sync.settings.environment import Environment, expanded
from cht_sync.settings.setting import Choice, Number, Schedule, Secret, Section, Setting, Text, Words

FORM_TYPES = ("text", "bigint", "numeric", "date", "timestamptz", "time", "boolean", "text[]", "geopoint", "epoch")
TEAM_PREFIX = "CHT_DBT_ENV_"
# What dbt gets from elsewhere, or what decides how a program runs.
_NOT_A_TEAMS = re.compile(
    r"(ROOT_|DBT_)?POSTGRES_|COSMOS_|LD_|DYLD_|PYTHON|GIT_|SSH_|SSL_CERT_|LC_|PG[A-Z]+$"
    r"|(PATH|HOME|USER|LOGNAME|SHELL|LANG|TZ|TMPDIR|DO_NOT_TRACK|DBT_SEND_ANONYMOUS_USAGE_STATS)$"
)


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """How large a dbt project may be, with its packages.

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


@dataclass(frozen=True)
class Numbers(Setting[list[int]]):
    """One number for all groups of models, or one each, separated by ``;``."""

    _: KW_ONLY
    low: int
    high: int

    def convert(self, value: str) -> list[int]:
        each = Number(self.name, low=self.low, high=self.high)
        return [each.convert(part.strip() or str(self.default)) for part in value.split(";")]


class TeamVariables(Setting[dict[str, str]]):
    """Variables of the team's own: the project reads ``<prefix><NAME>`` as ``env_var('<NAME>')``."""

    def read(self, environment: Environment) -> dict[str, str]:
        found = {name.removeprefix(self.name): environment.text(name) for name in environment.names(self.name)}
        for name in found:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or _NOT_A_TEAMS.match(name):
                raise SettingsError(
                    f"{self.name}{name} cannot be used: {name or 'nothing'!r} after {self.name} is no name of a"
                    " variable, or one that dbt gets from elsewhere; choose another name for it, in the project too.",
                    f"{self.name}{name}",
                )
        return found


class ModelsSection(Section):
    """Which models, from where, when and how."""

    title = "The dbt models"
    # fmt: off
    dbt_local_path = Text(
        "DBT_LOCAL_PATH",
        about="The first of these three that is set is used, else the starter models of this repository. The DAG"
        " cht_pipeline_deploy deploys it, and each new state of it. A folder that holds a dbt project; one that does"
        " not exist is ignored where one of the next two is set.",
    )
    pipeline_branch_url = Text("CHT_PIPELINE_BRANCH_URL", about="Any git address, with #branch, #tag or #commit.")
    dbt_tarball_url = Text("DBT_PACKAGE_TARBALL_URL", about="An http or https address of a dbt package as .tar.gz.")
    pipeline_token = Secret(
        "CHT_PIPELINE_TOKEN",
        about="Of a private one the token, or user:password, in a file that holds nothing else."
        " https://<token>@host/... works too, as in CHT Sync 2.x, but whoever sees the settings sees the token then;"
        " as an argument of a build it is refused.",
    )
    dbt_team_variables = TeamVariables(
        TEAM_PREFIX, "",
        about="Variables of your own for the dbt project, which gets none of Airflow's: CHT_DBT_ENV_REGION is what"
        " env_var('REGION') reads. docs/how-to-dbt-variables.md",
    )
    _pipeline_dir = Text(
        "CHT_PIPELINE_DIR",
        about="Where the project is installed, on a volume that the DAG processor and all workers share. Default:"
        " $AIRFLOW_HOME/cht_pipeline",
    )
    pipeline_schedule = Schedule(
        "CHT_PIPELINE_SCHEDULE", "*/10 * * * *",
        about="When a new version is looked for: a cron expression, a preset, or none for by hand only.",
    )
    pipeline_timeout = Number(
        "CHT_PIPELINE_TIMEOUT", 1440, low=1, high=10_080,
        about="Minutes after which a deployment with its rebuild is ended.",
    )
    _most_bytes = Number(
        "CHT_PIPELINE_MAX_MB", 500, low=1, high=100_000, unit=MEGABYTE,
        about="Megabytes of the project with its packages, and of what is downloaded for it, at most; files and"
        " folders at most.",
    )
    _most_files = Number("CHT_PIPELINE_MAX_FILES", 50_000, low=1, high=10_000_000)
    models_place = Choice(
        "CHT_MODELS", "inline", ("inline", "asset"),
        about="inline: the models run within the DAG cht_sync. asset: in a DAG of their own, cht_models, which starts"
        " when documents have arrived, so that long models do not hold up the copy.",
    )
    _models_schedule = Schedule(
        "CHT_MODELS_SCHEDULE", "*/10 * * * *",
        about="With asset: when it looks without documents having arrived, or none; minutes after which a run is"
        " ended.",
    )
    own_models_timeout = Number("CHT_MODELS_TIMEOUT", 1440, low=1, high=10_080)
    data_tests_schedule = Schedule(
        "CHT_DATA_TESTS_SCHEDULE", "@daily",
        about="When the data tests run and the documentation is published, or none.",
    )
    snapshots_schedule = Schedule(
        "CHT_SNAPSHOTS_SCHEDULE", "@daily", template="",
        about="When the snapshots of the dbt project are taken, or none. Default: daily, where it has any.",
    )
    _thread_counts = Numbers(
        "DBT_THREAD_COUNT", 1, low=1, high=64,
        about="Models built at once; with several groups of DBT_SELECTOR one number for all, or one each, separated by"
        " ;",
    )
    dbt_batch_size = Number(
        "DBT_BATCH_SIZE", 0, low=0, high=2**31 - 1,
        about="Documents that are modelled at once; 0 for all. A run takes batch after batch until it has caught up.",
    )
    models_time_budget = Number(
        "CHT_MODELS_TIME_BUDGET", 600, low=1, high=86_400,
        about="Seconds after which a run begins no further batch; the next run goes on from there.",
    )
    most_drop = Number(
        "CHT_MODELS_MAX_DROP", 20, low=0, high=100,
        about="Percent of its rows that a model may lose from one run to the next; 100 for any number.",
    )
    _selector = Text(
        "DBT_SELECTOR",
        about="A dbt --select expression, such as tag:base. Default: every model. Several, separated by ; are groups"
        " that run one after the other.",
    )
    models_mode = Choice(
        "CHT_MODELS_EXECUTION", "auto", ("auto", "watcher", "local"),
        about="auto: one dbt process for all models (watcher), or one for each (local) under `airflow dags test`.",
    )
    _forms = Words(
        "CHT_FORMS", "",
        about="Forms of the CHT that get a table of their own, made from their definitions: all, none, or codes such as"
        " pregnancy delivery* with * for any letters. Default: all with the starter models, none beside a project of"
        " your own.",
    )
    forms_exclude = Words(
        "CHT_FORMS_EXCLUDE", "",
        about="Fields of forms that get no column, as paths with * for any letters: */r_* */meta/*. Copies of contacts"
        " in inputs, and pages that sum up, are left out in any case.",
    )
    _forms_types = Words(
        "CHT_FORMS_TYPES", "",
        about="Types of fields, whatever their values say, as form/path=type with text, bigint, numeric, date,"
        " timestamptz, time, boolean, text[] or geopoint: pregnancy/lmp_date=date. A value that is none becomes null"
        " and is listed in document_rejects.",
    )
    # fmt: on

    @property
    def forms(self) -> list[str]:
        """Globs of the codes of forms that get a table; none where no form does."""
        words = self._forms
        if not words:
            has_own = self.dbt_local_path or self.pipeline_branch_url or self.dbt_tarball_url
            return [] if has_own else ["*"]
        if len(words) > 1 and {"all", "none"} & set(words):
            raise ModelsSection._forms.refused(" ".join(words), "cannot be used: give all, none, or codes of forms.")
        return {"all": ["*"], "none": []}.get(words[0], words)

    @property
    def forms_types(self) -> dict[str, str]:
        """Kind of column by a glob of ``<code>/<path>``."""
        found = {}
        for word in self._forms_types:
            glob, _, kind = word.rpartition("=")
            if not glob or kind not in FORM_TYPES:
                raise ModelsSection._forms_types.refused(
                    word, f"cannot be used: give form/path=type, with one of {', '.join(FORM_TYPES)}."
                )
            found[glob] = kind
        return found

    @property
    def dbt_selectors(self) -> list[str]:
        """The groups of ``DBT_SELECTOR``; none for everything."""
        return [part.strip() for part in self._selector.split(";") if part.strip()]

    @property
    def dbt_selector(self) -> str:
        """All groups as one dbt ``--select`` expression; empty for everything."""
        return " ".join(self.dbt_selectors)

    @property
    def dbt_groups(self) -> list[str]:
        """The groups of models by their selector, as their deployments are recorded: one, empty, for everything."""
        return self.dbt_selectors or [""]

    @property
    def dbt_thread_counts(self) -> list[int]:
        """Models built at once, for each group of :attr:`dbt_selectors`."""
        counts, groups = self._thread_counts, len(self.dbt_groups)
        if len(counts) not in {1, groups}:
            raise ModelsSection._thread_counts.refused(
                self.text("DBT_THREAD_COUNT"),
                f"holds {len(counts)} numbers, but DBT_SELECTOR makes {groups} group(s): give one number for all, or"
                " one for each, separated by ';'.",
            )
        return counts * groups if len(counts) == 1 else counts

    @property
    def dbt_threads(self) -> int:
        """The largest of :attr:`dbt_thread_counts`."""
        return max(self.dbt_thread_counts)

    @property
    def models_dag(self) -> str:
        """The DAG that runs the models."""
        return "cht_models" if self.models_place == "asset" else "cht_sync"

    @property
    def models_schedule(self) -> str | None:
        """When ``cht_models`` looks without an event."""
        value = self._models_schedule
        if value in {"@once", "@continuous"}:
            raise ModelsSection._models_schedule.refused(
                value, "cannot be used: give a cron expression, or none for events alone."
            )
        return value

    @property
    def project_limits(self) -> ProjectLimits:
        """How large the dbt project may be with its packages, and what is downloaded for it."""
        return ProjectLimits(self._most_bytes, self._most_files)

    @property
    def pipeline_dir(self) -> Path:
        """The folder of the installed dbt project."""
        name, below = "CHT_PIPELINE_DIR", ""
        if not self.text(name):
            name, below = "AIRFLOW_HOME", "cht_pipeline"
        return expanded(name, self.text(name, "~/airflow")) / below

    @property
    def docs_dir(self) -> Path:
        """Where the documentation of the models is published, beside the versions of the project."""
        return self.pipeline_dir / "docs"
