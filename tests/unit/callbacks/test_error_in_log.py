"""Which errors are told by their sentence alone, and what may be kept of them."""

from __future__ import annotations

import logging
import re
import traceback
from datetime import timedelta
from types import SimpleNamespace

import psycopg2
import pytest
import structlog
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from cosmos.exceptions import CosmosDbtRunError

from cht_sync import errors
from cht_sync.callbacks.error_in_log import FAILED, LastLine, text_of_expected, text_to_store
from cht_sync.dbt.rebuild.errors import RebuildError, RebuildRefusedError
from cht_sync.redaction import cleaned

SAID = "CouchDB at http://h:5984 could not be reached: check COUCHDB_HOST."
FROM_POSTGRES = (
    'Database Error in model a\n  invalid input syntax for type integer: "Amina"\n  DETAIL:  Key (x)=(Amina).\n'
)
EXPECTED = [
    errors.SettingsError(SAID),
    errors.RequestRefusedError(SAID, 401),
    errors.CouchDBError(SAID),
    errors.NodeDownError(SAID),
    errors.NoJSONError(SAID),
    errors.BrokenAnswerError(SAID),
    errors.UnreadableAnswerError(SAID),
    errors.NotHandedOutError(SAID),
    errors.StoreError(SAID),
    errors.CheckpointConflictError(SAID),
    errors.SupersetError(SAID),
    errors.ModelFailedError(SAID),
    errors.IncompleteError(SAID),
    errors.ShrunkError(SAID),
    errors.HeldError(SAID),
    errors.ChangedError(SAID),
    errors.StoppedError(SAID),
    errors.OutOfTimeError(SAID),
    errors.StillFailingError(SAID),
    RebuildError(SAID),
    RebuildRefusedError(SAID),
    AirflowFailException(SAID),
    CosmosDbtRunError(SAID),
]


def context(number=1, most=1):
    ti = SimpleNamespace(try_number=number, max_tries=most)
    return {"ti": ti, "task": SimpleNamespace(retry_delay=timedelta(seconds=10))}


def test_every_error_of_this_project_is_expected():
    own = {each for each in vars(errors).values() if isinstance(each, type) and each.__module__ == errors.__name__}
    assert own - {errors.ExpectedError} == {type(each) for each in EXPECTED if type(each).__module__ == errors.__name__}


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_an_expected_error_is_one_line_that_is_kept_whole(error):
    assert text_of_expected(error) == text_to_store(error) == SAID


@pytest.mark.parametrize("error", [KeyError("Amina"), ValueError("Amina"), TypeError("Amina")])
def test_an_unexpected_one_has_no_sentence_and_nothing_of_it_is_kept(error):
    assert text_of_expected(error) is None
    assert "Amina" not in text_to_store(error)
    assert type(error).__name__ in text_to_store(error)


def test_an_unexpected_one_of_postgres_is_kept_without_values():
    assert text_to_store(psycopg2.errors.UniqueViolation("Key (phone)=(Amina)")).startswith(
        "An error that is not expected, Postgres says UniqueViolation: …:"
    )


@pytest.mark.parametrize(
    "kind", [errors.ModelFailedError, errors.IncompleteError, RebuildRefusedError, CosmosDbtRunError]
)
def test_what_dbt_says_loses_values_in_the_log_and_where_it_is_kept(kind):
    error = kind(FROM_POSTGRES)
    assert (
        text_of_expected(error)
        == text_to_store(error)
        == "Database Error in model a invalid input syntax for type integer: … …"
    )


@pytest.mark.parametrize("error", [AirflowTaskTimeout("Timeout, PID: 7"), AirflowSensorTimeout("Sensor has timed out")])
def test_a_time_limit_names_its_setting(error):
    assert "CHT_MODELS_TIMEOUT" in text_of_expected(error)


@pytest.mark.parametrize(
    ("dag_id", "place", "said"),
    [
        ("cht_sync", "inline", "set CHT_MODELS=asset"),
        ("cht_sync", "inline", "or raise CHT_SYNC_TIMEOUT"),
        ("cht_data_tests", "inline", "or raise CHT_SYNC_TIMEOUT"),
        ("cht_models", "asset", "raise CHT_MODELS_TIMEOUT"),
        ("cht_data_tests", "asset", "raise CHT_MODELS_TIMEOUT"),
        ("cht_pipeline_deploy", "inline", "raise CHT_PIPELINE_TIMEOUT"),
        ("somebodys", "inline", "raise execution_timeout or dagrun_timeout of the DAG"),
    ],
)
def test_a_time_limit_names_the_setting_of_its_dag(monkeypatch, dag_id, place, said):
    monkeypatch.setenv("CHT_MODELS", place)
    error = AirflowTaskTimeout("Timeout, PID: 7")
    assert said in text_of_expected(error, dag_id)
    assert said in text_to_store(error, dag_id)


def test_a_process_that_was_lost_is_told_too():
    assert "killed" in text_to_store(None)


@pytest.mark.parametrize(
    ("error", "number", "most", "end"),
    [
        (errors.CouchDBError(SAID), 1, 1, "Airflow tries it again in 10 s (try 1 of 2)."),
        (errors.CouchDBError(SAID), 2, 1, "Airflow does not try it again in this run (try 2 of 2)."),
        (errors.CouchDBError(SAID), 1, 0, "Airflow does not try it again in this run (try 1 of 1)."),
        (errors.SettingsError(SAID), 1, 1, "Airflow does not try it again in this run (try 1 of 2)."),
    ],
)
def test_the_record_is_the_sentence_and_whether_it_is_tried_again(error, number, most, end):
    line, said = LastLine(), []

    def capture(_logger, method, event):
        said.append((method, dict(event)))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[capture])
    try:
        log = structlog.get_logger()
        log.info("before that the logger was used, as Airflow's is")
        line.begin(context(number, most))
        try:
            raise error
        except Exception:
            log.exception(FAILED)
        for mark in ("::group::Post Execute", "::endgroup::"):
            log.info(mark)
    finally:
        structlog.configure(**before)
    assert said[1:] == [("error", {"event": f"{SAID} {end}"})]


def test_the_traceback_of_an_unexpected_error_stays():
    line = LastLine()
    line._context = context()
    try:
        raise KeyError("x")
    except KeyError:
        event = line(None, "error", {"event": FAILED, "exc_info": True})
    assert event == {"event": FAILED, "exc_info": True}
    assert line(None, "info", {"event": "::endgroup::"}) == {"event": "::endgroup::"}


@pytest.mark.parametrize(
    "error", [psycopg2.DataError("Amina"), KeyError("Amina"), ValueError("Amina"), CosmosDbtRunError('x: "Amina"')]
)
def test_the_traceback_shows_no_value_whoever_prints_it(error):
    line = LastLine()
    line._context = context()
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("Amina") from cause
    except RuntimeError as outer:
        line(None, "error", {"event": "Failed to run a callback", "exc_info": outer})
        printed = "".join(traceback.format_exception(outer)[1:])
    assert 'raise RuntimeError("Amina")' in printed, "the code is there"
    assert not re.search(r"^\S*(?:Error|Exception): .*Amina", printed, re.MULTILINE), printed


def test_what_python_says_of_code_stays():
    error = AttributeError("'NoneType' object has no attribute 'get'")
    assert cleaned(error)
    assert str(error) == "'NoneType' object has no attribute 'get'"


def test_an_error_that_makes_its_text_of_something_else_is_told_by_its_kind():
    line = LastLine()
    line._context = context()
    error = UnicodeDecodeError("utf-8", b"Amina\xff", 5, 6, "Amina")
    event = line(None, "error", {"event": "x", "exc_info": (type(error), error, None)})
    assert event == {"event": "x (UnicodeDecodeError)", "exc_info": None}


def test_nothing_is_hidden_of_what_was_caught_and_told_otherwise(caplog):
    line = LastLine()
    line._context = context()
    try:
        raise errors.StoreError(SAID)
    except errors.StoreError:
        event = line(None, "error", {"event": "something else", "exc_info": True})
    assert event["exc_info"]
    logging.getLogger("x").error("still told")
    assert "still told" in caplog.text
