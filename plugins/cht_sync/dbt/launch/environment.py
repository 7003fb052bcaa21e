"""The variables that dbt gets, whoever starts it: an allow-list, so that a dbt project reads no secret of Airflow's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from cht_sync.dbt.launch.profile import ModelsProfile, models_environment, models_password
from cht_sync.dbt.subprocess.events import NO_SEMAPHORES
from cht_sync.settings.models import TEAM_PREFIX
from cht_sync.settings.settings import REPOSITORY, Settings

# What a program needs to run; a star stands for any end.
_TO_RUN = (
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TZDIR TMPDIR TEMP TMP VIRTUAL_ENV LD_LIBRARY_PATH"
    " PYTHONHOME PYTHONUTF8 PYTHONIOENCODING PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONUNBUFFERED"
    " SSL_CERT_FILE SSL_CERT_DIR"
)
# How dbt behaves; not which folders and servers it uses, which we say.
# Source: https://docs.getdbt.com/reference/global-configs/about-global-configs
_OF_DBT = (
    "DBT_CACHE_SELECTED_ONLY DBT_DEBUG DBT_ENV_CUSTOM_ENV_* DBT_FAIL_FAST DBT_INDIRECT_SELECTION DBT_INTROSPECT"
    " DBT_LOG_CACHE_EVENTS DBT_LOG_FILE_MAX_BYTES DBT_LOG_FORMAT DBT_LOG_FORMAT_FILE DBT_LOG_LEVEL DBT_LOG_LEVEL_FILE"
    " DBT_LOG_PATH DBT_MACRO_DEBUGGING DBT_PARTIAL_PARSE DBT_POPULATE_CACHE DBT_PRINT DBT_PRINTER_WIDTH DBT_QUIET"
    " DBT_SINGLE_THREADED DBT_STATIC_PARSER DBT_STORE_FAILURES DBT_USE_COLORS DBT_USE_COLORS_FILE"
    " DBT_USE_EXPERIMENTAL_PARSER DBT_VERSION_CHECK DBT_WARN_ERROR DBT_WARN_ERROR_OPTIONS DBT_WRITE_JSON"
)
# Settings of ours that hold no secret.
_OF_OURS = (
    "POSTGRES_HOST POSTGRES_PORT POSTGRES_USER DBT_POSTGRES_HOST DBT_POSTGRES_USER DBT_POSTGRES_SCHEMA DBT_SELECTOR"
    " DBT_THREAD_COUNT DBT_BATCH_SIZE"
)
# How libpq reaches the server: all but PGPASSWORD, which counts where the connection has no password.
# Source: https://www.postgresql.org/docs/current/libpq-envars.html
_OF_LIBPQ = (
    "PGHOSTADDR PGPASSFILE PGSERVICE PGSERVICEFILE PGSYSCONFDIR PGOPTIONS PGTZ PGDATESTYLE PGCONNECT_TIMEOUT PGSSL*"
    " PGCHANNELBINDING PGREQUIREAUTH PGREQUIREPEER PGGSSENCMODE PGGSSLIB PGKRBSRVNAME PGTARGETSESSIONATTRS"
    " PGLOADBALANCEHOSTS KRB5CCNAME KRB5_CONFIG"
)
# How packages are fetched, for `dbt deps` alone; dbt itself lets only packages.yml read DBT_ENV_SECRET_*.
_TO_FETCH = (
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy REQUESTS_CA_BUNDLE"
    " CURL_CA_BUNDLE GIT_SSL_CAINFO GIT_SSL_CAPATH GIT_SSH_COMMAND GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM"
    " GIT_CONFIG_NOSYSTEM SSH_AUTH_SOCK DBT_PACKAGE_HUB_URL DBT_ENV_SECRET_*"
)
# What Cosmos hands on of the run: names, ids and times.
_OF_THE_RUN = "AIRFLOW_CTX_*"

_MISSING = re.compile(r"Env var required but not provided: '([^']+)'")
_READ = re.compile(r"env_var\(\s*\\?['\"]([A-Za-z_][A-Za-z0-9_]*)\\?['\"]")
_TEXTS = {".sql", ".yml", ".yaml", ".md"}


def to_start() -> dict[str, str]:
    """What dbt's process begins with: enough to run, nothing to log in with."""
    paths = [str(REPOSITORY / "plugins"), os.environ.get("PYTHONPATH", "")]
    return {
        **_of(os.environ, f"{_TO_RUN} {_OF_DBT}"),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONWARNINGS": NO_SEMAPHORES,
    }


def to_parse(settings: Settings) -> dict[str, str]:
    """What dbt reads a project with, which nobody may have approved yet: no password at all."""
    # The profile asks for a password even where nothing connects.
    password = {ModelsProfile.get_env_var_name("password"): ""}
    return {**_of_project(settings), **settings.dbt_environment, **password}


def to_fetch(settings: Settings) -> dict[str, str]:
    """What ``dbt deps`` gets: proxies and what git needs besides."""
    return {**_of(os.environ, _TO_FETCH), **to_parse(settings)}


def to_connect(settings: Settings, of_run: Mapping[str, str] | None = None) -> dict[str, str]:
    """What dbt gets where it works in the database: the password of the models' role, and no other.

    :param of_run: what Cosmos gives of the task's run; other names in it are dropped.
    :raises StoreError: if the server cannot be asked whether it offers TLS.
    """
    return {
        **_of(os.environ, _OF_LIBPQ),
        **_of(of_run or {}, _OF_THE_RUN),
        **_of_project(settings),
        **models_environment(settings),
        **models_password(settings),
    }


def advice(text: str) -> str:
    """What to do about a variable that a project misses, as a sentence to append; empty where it misses none."""
    if not (found := _MISSING.search(text)):
        return ""
    name = found[1]
    if name.startswith(TEAM_PREFIX):
        return f" The project has to read {name} by its end: env_var('{name.removeprefix(TEAM_PREFIX)}')."
    return (
        f" dbt sees no variable of Airflow's but those of an allow-list: if the project may know {name}, set"
        f" {TEAM_PREFIX}{name} where Airflow runs, which env_var('{name}') then reads."
    )


def told_of_defaults(folder: Path, settings: Settings) -> str:
    """A sentence where a version asks for variables of Airflow's that dbt does not get; else nothing.

    Where the project names a default, dbt takes that one and says nothing.
    """
    given = {*to_fetch(settings), *_of(os.environ, _OF_LIBPQ)}
    paths = [path for place in ("project", "dbt_packages") for path in (folder / place).rglob("*")]
    texts = [path for path in paths if path.suffix.lower() in _TEXTS and path.is_file() and not path.is_symlink()]
    asked = {name for path in texts for name in _READ.findall(path.read_text(errors="replace"))}
    names = sorted(name for name in asked - given if os.environ.get(name))
    if not names:
        return ""
    return (
        f"The dbt project asks with env_var() for {', '.join(names)}, set where Airflow runs and not handed to dbt, so"
        f" that its own defaults count: what it may know has to be set as {TEAM_PREFIX}{names[0]} and the like."
    )


def _of_project(settings: Settings) -> dict[str, str]:
    ours = {name: value for name in _OF_OURS.split() if (value := settings.text(name))}
    return {**settings.dbt_team_variables, **to_start(), **ours}


def _of(environ: Mapping[str, str], allowed: str) -> dict[str, str]:
    patterns = allowed.split()
    names = set(patterns)
    starts = tuple(one[:-1] for one in patterns if one.endswith("*"))
    return {name: value for name, value in environ.items() if name in names or (starts and name.startswith(starts))}
