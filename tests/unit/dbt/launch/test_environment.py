"""What dbt gets of the variables of Airflow, and what a project can reach from its Jinja."""

from __future__ import annotations

import ast

import pytest
from airflow.sdk import Connection
from dbt_common.clients.jinja import get_environment
from jinja2.exceptions import SecurityError, UndefinedError

from cht_sync.dbt.launch import profile
from cht_sync.dbt.launch.environment import advice, to_connect, to_fetch, to_parse, to_start, told_of_defaults
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import REPOSITORY, Settings

CANARY = "canary"
# Of an Airflow, of what runs it, of CouchDB, of every role but dbt's, and of people's own services.
SECRETS = [
    "AIRFLOW_CONN_X", "AIRFLOW_CTX_MADE_UP", "AIRFLOW_VAR_X", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD",
    "AIRFLOW_HOME", "_AIRFLOW_WWW_USER_PASSWORD", "AWS_SECRET_ACCESS_KEY", "CHT_METRICS_TOKEN", "CHT_PIPELINE_BRANCH_URL",
    "CHT_PIPELINE_TOKEN", "COUCHDB_PASSWORD", "COUCHDB_PASSWORD_FILE", "COUCHDB_USER", "DBT_CLOUD_API_KEY",
    "DBT_PACKAGE_TARBALL_URL", "DBT_POSTGRES_PASSWORD", "DBT_POSTGRES_PASSWORD_FILE", "GIT_ASKPASS",
    "GIT_CONFIG_VALUE_0", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY_PASSWORD", "KUBERNETES_SERVICE_HOST",
    "PGADMIN_DEFAULT_PASSWORD", "PGPASSWORD", "PYTHONSTARTUP", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE",
    "SUPERSET_PASSWORD", "VAULT_TOKEN", "anything_else",
]  # fmt: skip
TO_FETCH = ["DBT_ENV_SECRET_GIT", "HTTPS_PROXY", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "DBT_PACKAGE_HUB_URL"]


@pytest.fixture
def connection(monkeypatch):
    found = Connection(conn_id="x", conn_type="postgres", host="127.0.0.1", login="dbt", password="own", schema="db")
    monkeypatch.setattr(profile, "dbt_connection", lambda *_: found)
    monkeypatch.setattr(profile, "postgres_connection", lambda *_: found)
    return found


@pytest.fixture
def worker(monkeypatch, connection):
    """A worker with everything that one may have."""
    for name in [*SECRETS, *TO_FETCH]:
        monkeypatch.setenv(name, f"{CANARY} of {name}")
    for name in ("LC_ALL", "PGSSLMODE", "DBT_WARN_ERROR", "POSTGRES_HOST", "POSTGRES_USER"):
        monkeypatch.setenv(name, "plain")
    monkeypatch.delenv("POSTGRES_PASSWORD_FILE")
    monkeypatch.delenv("DBT_POSTGRES_PASSWORD_FILE")
    monkeypatch.setenv("CHT_DBT_ENV_REGION", "north")
    # Asked of a server.
    monkeypatch.setattr("cht_sync.dbt.launch.profile.models_zone", lambda settings: "UTC")


def leaked(environment):
    return {name for name, value in environment.items() if CANARY in value}


def test_nothing_but_what_is_listed_reaches_dbt(worker):
    of_run = {"AIRFLOW_CTX_DAG_ID": "cht_sync", "AIRFLOW__CORE__FERNET_KEY": CANARY, "COUCHDB_PASSWORD": CANARY}
    connected = to_connect(Settings(), of_run)
    for environment in (to_start(), to_parse(Settings()), connected):
        assert leaked(environment) == set()
        assert {"PATH", "LC_ALL", "DBT_WARN_ERROR"} <= environment.keys()
    assert connected["AIRFLOW_CTX_DAG_ID"] == "cht_sync"
    assert (connected["COSMOS_CONN_POSTGRES_PASSWORD"], connected["PGSSLMODE"]) == ("own", "plain")
    assert (connected["POSTGRES_DB"], connected["POSTGRES_USER"]) == ("db", "plain")


def test_packages_are_fetched_with_what_that_takes_and_nothing_else(worker):
    assert leaked(to_fetch(Settings())) == set(TO_FETCH)
    assert leaked(to_connect(Settings())) == set()


def test_a_project_that_is_looked_at_gets_no_password(worker):
    for environment in (to_parse(Settings()), to_fetch(Settings())):
        assert environment["COSMOS_CONN_POSTGRES_PASSWORD"] == ""
        assert "own" not in environment.values()


def test_without_a_password_of_the_connection_libpqs_own_counts(worker, connection):
    connection.password = None
    assert to_connect(Settings())["COSMOS_CONN_POSTGRES_PASSWORD"] == f"{CANARY} of PGPASSWORD"


def test_a_variable_of_the_team_is_read_without_the_prefix(worker):
    for environment in (to_parse(Settings()), to_connect(Settings())):
        assert environment["REGION"] == "north"
        assert not [name for name in environment if name.startswith("CHT_")]


@pytest.mark.parametrize(
    "name",
    ["", "PATH", "LD_PRELOAD", "PYTHONPATH", "POSTGRES_DB", "DBT_POSTGRES_PASSWORD", "PGPASSWORD", "LC_ALL", "a-b",
     "COSMOS_CONN_POSTGRES_PASSWORD", "GIT_SSH_COMMAND", "1st"],
)  # fmt: skip
def test_a_name_that_dbt_gets_from_elsewhere_is_refused(name):
    with pytest.raises(SettingsError, match=f"CHT_DBT_ENV_{name} cannot be used") as refused:
        Settings({f"CHT_DBT_ENV_{name}": "s3cret"}).check()
    assert "s3cret" not in str(refused.value)
    # A DAG file is importable all the same.
    assert Settings({f"CHT_DBT_ENV_{name}": "s3cret"}).usable().dbt_team_variables == {}


def test_a_missing_variable_is_told_with_its_remedy():
    said = advice("Parsing Error\n  Env var required but not provided: 'MY_REGION'")
    assert "set CHT_DBT_ENV_MY_REGION" in said
    assert "env_var('MY_REGION')" in said
    assert "env_var('REGION')" in advice("Env var required but not provided: 'CHT_DBT_ENV_REGION'")
    assert advice("Compilation Error") == ""


def test_a_default_that_takes_the_place_of_a_variable_of_airflow_is_found(worker, tmp_path):
    texts = {
        "project/models/a.sql": "select '{{ env_var('COUCHDB_USER', 'x') }}', '{{ env_var('REGION', 'x') }}'",
        "project/models/a.yml": 'x: "{{ env_var(\\"VAULT_TOKEN\\", 1) }}"',
        "dbt_packages/p/macros/b.sql": '{{ env_var( "NOT_SET", 1) }}{{ env_var("POSTGRES_USER") }}',
        "project/readme.txt": "{{ env_var('AIRFLOW_HOME') }}",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    told = told_of_defaults(tmp_path, Settings())
    assert "for COUCHDB_USER, VAULT_TOKEN," in told
    assert "CHT_DBT_ENV_COUCHDB_USER" in told
    assert CANARY not in told
    (tmp_path / "project/models/a.sql").write_text("select 1")
    (tmp_path / "project/models/a.yml").write_text("")
    assert told_of_defaults(tmp_path, Settings()) == ""


@pytest.mark.parametrize(
    "expression",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.environ }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].environ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{% set f = ''.format %}{{ f.__globals__ }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(cycler) }}",
        "{{ ''|attr('__class__') }}",
        "{{ (1).__class__.__base__ }}",
        "{{ env_var.__globals__ }}",
        "{{ env_var.__func__.__globals__ }}",
        "{{ modules.re.compile.__globals__ }}",
        "{{ modules.datetime.datetime.__init__.__globals__ }}",
        "{{ modules.re.sys.modules.os.environ }}",
        "{{ modules.datetime.sys.modules.os.environ }}",
        "{{ modules.pytz.os.environ }}",
        "{{ modules.itertools.__loader__ }}",
        "{{ modules.pytz.timezone.__globals__ }}",
    ],
)
def test_a_projects_jinja_reaches_no_object_of_python(expression, monkeypatch):
    # So that memory of the process, which holds dbt's own password, is out of reach too.
    monkeypatch.setenv("SPIED", CANARY)
    context = {"modules": _modules(), "env_var": _env_var}
    try:
        said = get_environment(None).from_string(expression).render(context)
    except (SecurityError, UndefinedError):
        return
    assert CANARY not in said
    assert "<module" not in said
    assert "function" not in said
    assert said in {"", "undefined"} or "__" not in said


def _modules():
    from dbt.context.base import get_context_modules

    return get_context_modules()


def _env_var(name, default=None):
    return default


def test_dbt_is_run_nowhere_but_in_a_process_of_its_own():
    names = (
        "batches.py",
        "rebuild.py",
        "runs.py",
        "warm.py",
        "checks.py",
        "deps.py",
        "select_models.py",
    )
    ours = {*(f"dbt/subprocess/{name}" for name in names), "redaction/in_dbt.py"}
    folder = REPOSITORY / "plugins" / "cht_sync"
    for path in folder.rglob("*.py"):
        imported = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            for name in _names(node)
            if name.startswith(("dbt.cli", "dbt.task", "cosmos.dbt.runner"))
        }
        assert not imported or str(path.relative_to(folder)) in ours, (path, imported)
        # Cosmos's own would run it in the task.
        assert "AbstractDbtLocalBase.run_dbt_runner" not in path.read_text(), path
        if "without_repository(os.environ)" in path.read_text():
            assert path.name == "git.py", "an environment for dbt has one owner"


def test_the_scheduler_loads_no_dbt_into_what_tasks_are_forked_from():
    text = (REPOSITORY / "include" / "airflow_config" / "airflow_local_settings.py").read_text()
    imported = {name for node in ast.walk(ast.parse(text)) for name in _names(node)}
    assert {name for name in imported if name.split(".")[0] == "dbt"} == {"dbt.version"}
    assert "cht_sync.dbt.launch.warm_dbt" in imported


def _names(node):
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
