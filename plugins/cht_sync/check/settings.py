"""Whether every variable can be used and is read, and whether a dbt project is there to run."""

from __future__ import annotations

from collections.abc import Iterator

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.dbt.launch.environment import told_of_defaults
from cht_sync.dbt.project.source import address_warning, missing_folder_warning
from cht_sync.dbt.project.version import require_configured
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

# Names, or beginnings of names, and what to do.
# Source: https://docs.communityhealthtoolkit.org/hosting/analytics/environment-variables and tuning-dbt beside it,
# env.template and docker-compose.yml of CHT Sync 1.0 to 2.0.2, sample.env and env.js of cht-couch2pg 3.7.
UNREAD = {
    "DBT_THREADS": "set DBT_THREAD_COUNT",
    "DATAEMON_": "CHT_SYNC_SCHEDULE says how often runs start, CHT_PIPELINE_SCHEDULE when newer models are looked for",
    "BASTION_": "there is no bastion here; reach PostgreSQL by a network or a tunnel of your own",
    "PGADMIN_": "there is no pgAdmin here; the profile local has Adminer",
    "COUCHDB_URL": "set COUCHDB_HOST, COUCHDB_PORT, COUCHDB_SECURE, COUCHDB_USER, COUCHDB_PASSWORD and COUCHDB_DBS",
    "POSTGRESQL_URL": "set POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB",
    "POSTGRES_SERVER_NAME": "set POSTGRES_HOST",
    "POSTGRES_USER_NAME": "set POSTGRES_USER",
    "POSTGRES_DB_NAME": "set POSTGRES_DB",
    "COUCH2PG_": "CHT_SYNC_SCHEDULE and BATCH_SIZE take the place of couch2pg's settings",
    "SYNC_DB_": "name the databases in COUCHDB_DBS",
}


def check_unread(settings: Settings) -> Iterator[Finding]:
    """A warning for each such variable that is set; its value may be a secret and is not shown."""
    for start, remedy in UNREAD.items():
        for name in settings.names(start):
            if name == start or start.endswith("_"):
                yield warning(f"Variable {name}", f"is set, but nothing reads it: {remedy}.")


def check_models(settings: Settings) -> Iterator[Finding]:
    """Findings about the dbt project that the settings name."""
    subject = "dbt project"
    if passed_over := missing_folder_warning(settings):
        remedy = "Empty it, or name a folder that exists; a container sees only folders that are mounted into it."
        yield warning(subject, f"{passed_over} {remedy}")
    try:
        if told := address_warning(settings):
            remedy = "Take it out of the address, and let CHT_PIPELINE_TOKEN_FILE name a file that holds it."
            yield warning(subject, f"{told} {remedy}")
        found = require_configured(settings)
    except SettingsError as error:
        yield failed(subject, str(error))
        return
    if not found.installed:
        yield ok(subject, f"{found.source}, which need no installation.")
        return
    if told := told_of_defaults(found.path, settings):
        yield warning(subject, told)
    yield ok(subject, f"{found.source} ({found.revision[:12]}), {found.models} models, in {found.path}.")
