import os
import re

import pytest

from cht_sync.check import command
from cht_sync.check.airflow_database import check_airflow_database
from cht_sync.check.finding import State, failed, ok, warning
from cht_sync.check.settings import check_unread
from cht_sync.settings.settings import REPOSITORY, Settings


def run(monkeypatch, *checks):
    monkeypatch.setattr(command, "checks", lambda _: {str(number): each for number, each in enumerate(checks)})
    lines = []
    return command.check(Settings({}), lines.append), lines


def test_a_warning_is_no_failure(monkeypatch):
    code, lines = run(monkeypatch, lambda: [ok("This", "is fine.")], lambda: [warning("That", "is\nnot quite.")])
    assert code == 0
    assert lines == ["ok       This: is fine.", "warning  That: is not quite.", "1 ok, 1 warnings, 0 failed."]


def test_a_failure_ends_with_1_and_the_others_are_checked(monkeypatch):
    def breaks():
        yield ok("First", "is fine.")
        raise ValueError("password=s3cret")

    code, lines = run(monkeypatch, breaks, lambda: [failed("That", "is missing.")], lambda: [ok("Last", "is fine.")])
    assert code == 1
    assert "s3cret" not in "".join(lines)
    assert [line.split(":")[0] for line in lines] == [
        "ok       First", "failed   0", "failed   That", "ok       Last", "2 ok, 0 warnings, 2 failed.",
    ]  # fmt: skip


def test_a_variable_that_cannot_be_used_is_one_line_and_stops_no_other_check(tmp_path):
    settings = Settings({"BATCH_SIZE": "many", "AIRFLOW_HOME": str(tmp_path)})
    checks = command.checks(settings)
    (finding,) = checks["Settings"]()
    assert finding.state is State.FAILED
    assert "BATCH_SIZE='many'" in finding.text
    assert [each.state for each in checks["Disk"]()] == [State.OK, State.OK]
    assert [each.state for each in checks["dbt project"]()] == [State.OK]


def test_names_that_nothing_reads_are_told_with_what_takes_their_place():
    environ = {
        "DBT_THREADS": "3",
        "DBT_THREADS_OF_SOMEBODY": "3",
        "DATAEMON_INTERVAL": "5",
        "PGADMIN_PORT": "",
        "COUCHDB_URL": "https://medic:s3cret@couch.example.org/medic",
        "COUCH2PG_SLEEP_MINS": "60",
        "COUCHDB_HOST": "couchdb",
    }
    found = list(command.checks(Settings(environ))["Variables"]())
    assert {each.state for each in found} == {State.WARNING}
    assert [each.subject for each in found] == [
        "Variable DBT_THREADS",
        "Variable DATAEMON_INTERVAL",
        "Variable COUCHDB_URL",
        "Variable COUCH2PG_SLEEP_MINS",
    ]
    assert "set DBT_THREAD_COUNT" in found[0].text
    assert "CHT_SYNC_SCHEDULE" in found[1].text
    assert "s3cret" not in "".join(map(str, found))


def test_no_name_of_the_template_is_unread():
    names = re.findall(r"^([A-Z0-9_]+)=", (REPOSITORY / ".env.template").read_text(), re.M)
    told = {name for name in names if list(check_unread(Settings({name: "x"})))}
    assert told == {"DATAEMON_INTERVAL"}  # which the template says


def test_a_project_that_is_not_installed_fails_with_the_command_to_run(tmp_path):
    settings = Settings({"CHT_PIPELINE_DIR": str(tmp_path), "DBT_LOCAL_PATH": "/srv/project"})
    (finding,) = command.checks(settings)["dbt project"]()
    assert finding.state is State.FAILED
    assert "python -m cht_sync pipeline" in finding.text


@pytest.mark.parametrize("other", ["CHT_PIPELINE_BRANCH_URL", "DBT_PACKAGE_TARBALL_URL"])
def test_a_folder_that_is_not_there_is_told_beside_what_is_used_in_its_place(tmp_path, other):
    environ = {"CHT_PIPELINE_DIR": str(tmp_path), other: "https://me:s3cret@h/p"}
    found, *_ = command.checks(Settings({**environ, "DBT_LOCAL_PATH": "/srv/models"}))["dbt project"]()
    assert (found.state, found.subject) == (State.WARNING, "dbt project")
    assert f"DBT_LOCAL_PATH='/srv/models' does not exist here: {other} is used in its place." in found.text
    assert "mounted" in found.text
    assert "s3cret" not in found.text
    environ[other] = "https://h/p"
    for path in ("", str(tmp_path)):
        states = [each.state for each in command.checks(Settings({**environ, "DBT_LOCAL_PATH": path}))["dbt project"]()]
        assert State.WARNING not in states


@pytest.mark.parametrize("name", ["CHT_PIPELINE_BRANCH_URL", "DBT_PACKAGE_TARBALL_URL"])
def test_a_token_in_the_address_is_told_and_not_shown(tmp_path, name):
    environ = {"CHT_PIPELINE_DIR": str(tmp_path), name: "https://ghp_s3cret@h/p"}
    found, *_ = command.checks(Settings(environ))["dbt project"]()
    assert (found.state, found.subject) == (State.WARNING, "dbt project")
    assert name in found.text
    assert "CHT_PIPELINE_TOKEN_FILE" in found.text
    assert "s3cret" not in found.text


@pytest.mark.parametrize("there", [False, True])
def test_connections_are_read_from_airflows_database_where_there_is_one(monkeypatch, tmp_path, there):
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    file = tmp_path / "airflow.db"
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{file}")
    if there:
        file.touch()
        monkeypatch.setattr("cht_sync.check.airflow_database._connections", lambda: 3)
    (finding,) = check_airflow_database()
    assert finding.state is (State.OK if there else State.WARNING)
    assert file.exists() is there
    assert os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == ("server" if there else None)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")


def test_a_server_that_is_down_is_one_line_and_nothing_else(monkeypatch, capfd):
    # Port 1 of this machine, where nothing listens.
    for name, value in {"COUCHDB_HOST": "127.0.0.1", "COUCHDB_PORT": "1", "COUCHDB_DBS": "medic"}.items():
        monkeypatch.setenv(name, value)
    sources, server = command.checks(Settings())["CouchDB"]()
    assert (sources.state, server.state) == (State.OK, State.FAILED)
    assert "COUCHDB_PORT" in server.text
    assert "Trying again" not in "".join(capfd.readouterr())
