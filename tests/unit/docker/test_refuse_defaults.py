import pytest

from cht_sync.settings.settings import Settings
from include.docker.refuse_defaults import auth_reasons, main, reasons

GOOD = {
    "COUCHDB_HOST": "cht.example.org",
    "COUCHDB_PASSWORD": "8bC!couch",
    "POSTGRES_HOST": "db.example.org",
    "POSTGRES_PASSWORD": "8bC!raw",
    "DBT_POSTGRES_USER": "cht_dbt",
    "DBT_POSTGRES_PASSWORD": "8bC!dbt",
}
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
KEYCLOAK = "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager"


def test_passwords_of_ones_own_are_taken():
    assert list(reasons(Settings(GOOD))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"COUCHDB_PASSWORD": "password"}, "COUCHDB_PASSWORD_FILE"),
        ({"COUCHDB_PASSWORD": ""}, "COUCHDB_PASSWORD_FILE"),
        ({"POSTGRES_PASSWORD": "Postgres"}, "POSTGRES_PASSWORD_FILE"),
        ({"DBT_POSTGRES_PASSWORD": "cht_dbt"}, "DBT_POSTGRES_PASSWORD_FILE"),
        ({"COUCHDB_HOST": ""}, "COUCHDB_HOST is not set"),
        ({"POSTGRES_HOST": "postgres"}, "POSTGRES_HOST is not set"),
        ({"POSTGRES_PASSWORD_FILE": "/nowhere"}, "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set"),
        ({"CHT_COUCHDB_CONN_IDS": "cht_unknown"}, "Airflow has no connection 'cht_unknown'"),
    ],
)
def test_what_everybody_knows_is_refused_with_one_sentence(change, said):
    found = list(reasons(Settings({**GOOD, **change})))
    assert [said in reason for reason in found] == [True]
    assert "8bC!" not in found[0]


def test_the_exit_code_stops_what_depends_on_it(monkeypatch, capsys):
    for name, value in {**GOOD, "POSTGRES_PASSWORD": "postgres", "CHT_SIMPLE_AUTH": "accept"}.items():
        monkeypatch.setenv(name, value)
    assert main() == 1
    assert "give that role another one" in capsys.readouterr().err
    monkeypatch.setenv("POSTGRES_PASSWORD", GOOD["POSTGRES_PASSWORD"])
    assert (main(), capsys.readouterr().err) == (0, "")


def test_logins_made_for_development_are_refused_unless_said(monkeypatch, capsys):
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CHT_SIMPLE_AUTH", raising=False)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", SIMPLE)
    assert main() == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("AIRFLOW_AUTH_MANAGER is Airflow's SimpleAuthManager")
    assert "CHT_SIMPLE_AUTH=accept" in said
    assert "fab or keycloak" in said
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", FAB)
    assert (main(), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(
    ("manager", "said", "refused"),
    [
        (SIMPLE, "", True),
        (SIMPLE, "accept", False),
        (SIMPLE, " accept ", False),
        ("my.own.SimpleAuthManager", "", True),
        (FAB, "", False),
        (FAB, "accept", False),
        (KEYCLOAK, "", False),
    ],
)
def test_which_auth_manager_needs_a_word(manager, said, refused):
    assert len(list(auth_reasons(manager, {"CHT_SIMPLE_AUTH": said}))) == refused


@pytest.mark.parametrize("said", ["yes", "true", "Accept", "no"])
def test_another_word_is_refused_by_name(said):
    assert list(auth_reasons(SIMPLE, {"CHT_SIMPLE_AUTH": said})) == [
        f"CHT_SIMPLE_AUTH is {said!r}: set it to accept, or leave it empty."
    ]
