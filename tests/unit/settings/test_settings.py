import pytest
from airflow.utils.dates import cron_presets

from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


def test_the_defaults_are_those_of_cht_sync():
    settings = Settings({})
    assert (settings.raw_table.schema, settings.raw_table.table) == ("v1", "couchdb")
    assert (settings.couchdb.host, settings.couchdb.port, settings.couchdb.secure) == ("couchdb", 5984, False)
    assert (settings.postgres.host, settings.postgres.database) == ("postgres", "cht_sync")
    assert (settings.batch_size, settings.schedule, settings.dbt_schema) == (1000, "* * * * *", "v1")
    settings.check()


@pytest.mark.parametrize("value", ["medic, medic-sentinel", "medic medic-sentinel", " medic,,medic-sentinel,medic "])
def test_databases_are_separated_by_commas_or_spaces(value):
    assert Settings({"COUCHDB_DBS": value}).couchdb_databases == ["medic", "medic-sentinel"]


@pytest.mark.parametrize("environ", [{}, {"COUCHDB_DBS": ""}, {"COUCHDB_DBS": " , "}])
def test_no_database_is_refused(environ):
    with pytest.raises(SettingsError, match="COUCHDB_DBS is empty: set it to"):
        _ = Settings(environ).couchdb_databases


@pytest.mark.parametrize(
    ("name", "value", "attribute", "remedy"),
    [
        ("COUCHDB_PORT", "abc", "couchdb", "a whole number from 1 to 65535"),
        ("COUCHDB_PORT", "70000", "couchdb", "a whole number from 1 to 65535"),
        ("COUCHDB_SECURE", "yes", "couchdb", "true or false"),
        ("POSTGRES_PORT", "-1", "postgres", "a whole number"),
        ("BATCH_SIZE", "0", "batch_size", "a whole number from 1"),
        ("BATCH_SIZE", "1e3", "batch_size", "a whole number from 1"),
        ("CHT_SYNC_SCHEDULE", "every minute", "schedule", "cron expression"),
        ("CHT_SYNC_SCHEDULE", "@fortnightly", "schedule", "cron expression"),
        ("CHT_PIPELINE_DIR", "~nouser/x", "pipeline_dir", "a folder"),
        ("AIRFLOW_HOME", "~nouser/x", "pipeline_dir", "a folder"),
        ("CHT_MODELS_EXECUTION", "fast", "models_mode", "'auto', 'watcher' or 'local'"),
        ("POSTGRES_TABLE", "100%", "raw_table", "without %"),
        ("POSTGRES_SCHEMA", "x" * 64, "raw_table", "at most 63 bytes"),
        ("POSTGRES_SCHEMA", "a\nb", "raw_table", "control characters"),
        ("POSTGRES_SCHEMA", "pg_cht", "raw_table", "another name"),
        ("DBT_POSTGRES_SCHEMA", "pg_models", "dbt_schema", "another name"),
        ("DBT_POSTGRES_SCHEMA", "information_schema", "dbt_schema", "another name"),
    ],
)
def test_a_bad_value_gets_one_sentence(name, value, attribute, remedy):
    settings = Settings({name: value})
    with pytest.raises(SettingsError) as caught:
        getattr(settings, attribute)
    assert caught.value.setting == name
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert remedy in str(caught.value)
    with pytest.raises(SettingsError):
        settings.check()
    assert getattr(settings.usable(), attribute) == getattr(Settings({}), attribute)


@pytest.mark.parametrize("value", ["TRUE", "true", "True "])
def test_a_flag_is_read_in_any_case(value):
    assert Settings({"COUCHDB_SECURE": value}).couchdb.secure


@pytest.mark.parametrize(
    ("host", "secure"),
    [
        ("", False),
        ("couchdb", False),
        ("haproxy-1_b", False),
        ("localhost", False),
        ("localhost.", False),
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("[::1]", False),
        ("http://couchdb/", False),
        ("couch.example.org", True),
        ("Couch.Example.org:6984/path", True),
        ("https://couch.example.org", True),
        ("host.docker.internal", True),
        ("10.0.0.7", True),
        ("[fd00::7]", True),
        ("169.254.1.1", True),
        ("167772167", True),
        ("0xa000007", True),
        ("couch\u3002example", True),
        ("[broken", True),
        ("couchdb.", True),
    ],
)
def test_without_a_word_a_password_leaves_this_machine_over_tls_only(host, secure):
    assert Settings({"COUCHDB_HOST": host}).couchdb.secure is secure
    assert Settings({"COUCHDB_HOST": host, "COUCHDB_SECURE": ""}).couchdb.secure is secure
    assert Settings({"COUCHDB_HOST": host, "COUCHDB_SECURE": "true"}).couchdb.secure
    assert not Settings({"COUCHDB_HOST": host, "COUCHDB_SECURE": "false"}).couchdb.secure


@pytest.mark.parametrize("environ", [{}, {"COUCHDB_SECURE": "true"}])
def test_a_host_with_http_in_front_needs_the_word_too(environ):
    settings = Settings({"COUCHDB_HOST": "HTTP://couch.example.org", **environ})
    with pytest.raises(SettingsError, match="plain text.*COUCHDB_SECURE=false") as caught:
        _ = settings.couchdb
    assert caught.value.setting == "COUCHDB_HOST"
    assert not Settings({"COUCHDB_HOST": "http://couch.example.org", "COUCHDB_SECURE": "false"}).couchdb.secure


@pytest.mark.parametrize("value", ["none", "@none", "None"])
def test_the_schedule_can_be_switched_off(value):
    assert Settings({"CHT_SYNC_SCHEDULE": value}).schedule is None


@pytest.mark.parametrize("value", [*cron_presets, "@once", "@continuous"])
def test_the_schedule_may_be_any_preset_of_airflow(value):
    assert Settings({"CHT_SYNC_SCHEDULE": value}).schedule == value


def test_a_pipeline_folder_needs_no_home(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert str(Settings({"CHT_PIPELINE_DIR": "/srv/p"}).pipeline_dir) == "/srv/p"
    assert str(Settings({"AIRFLOW_HOME": "/srv/a"}).pipeline_dir) == "/srv/a/cht_pipeline"


def test_empty_counts_as_not_set():
    assert Settings({"POSTGRES_SCHEMA": "", "DBT_POSTGRES_SCHEMA": " "}).dbt_schema == "v1"


def test_no_password_in_a_representation():
    settings = Settings({"COUCHDB_PASSWORD": "s3cret", "POSTGRES_PASSWORD": "s3cret"})
    assert "s3cret" not in f"{settings.couchdb!r} {settings.postgres!r} {settings!r}"


PASSWORDS = {
    "COUCHDB_PASSWORD": lambda settings: settings.couchdb.password,
    "POSTGRES_PASSWORD": lambda settings: settings.postgres.password,
    "DBT_POSTGRES_PASSWORD": lambda settings: settings.dbt_postgres_overrides["password"],
}


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_may_be_in_a_file(tmp_path, name):
    file = tmp_path / "secret"
    file.write_text(" pässword \r\n")
    assert PASSWORDS[name](Settings({f"{name}_FILE": str(file)})) == " pässword "
    assert PASSWORDS[name](Settings({f"{name}_FILE": " ", name: "plain"})) == "plain"


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (None, {}, "cannot be read (FileNotFoundError)"),
        (b"s3cret\xff", {}, "cannot be read (UnicodeDecodeError)"),
        (b"\n", {}, "is an empty file"),
        (b"s3cret", {"POSTGRES_PASSWORD": "s3cret"}, "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set"),
    ],
)
def test_a_file_that_holds_no_password_gets_one_sentence(tmp_path, content, more, said):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    settings = Settings({"POSTGRES_PASSWORD_FILE": str(file), **more})
    with pytest.raises(SettingsError) as caught:
        settings.check()
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.setting == "POSTGRES_PASSWORD_FILE"
    settings.usable().check()
