import pytest

from cht_sync.settings import Settings
from include.docker.refuse_defaults import main, reasons

GOOD = {
    "COUCHDB_HOST": "cht.example.org",
    "COUCHDB_PASSWORD": "8bC!couch",
    "POSTGRES_HOST": "db.example.org",
    "POSTGRES_PASSWORD": "8bC!raw",
    "DBT_POSTGRES_USER": "cht_dbt",
    "DBT_POSTGRES_PASSWORD": "8bC!dbt",
}


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
    for name, value in {**GOOD, "POSTGRES_PASSWORD": "postgres"}.items():
        monkeypatch.setenv(name, value)
    assert main() == 1
    assert "give that role another one" in capsys.readouterr().err
