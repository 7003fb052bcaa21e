"""Each role of Airflow asks the status page for all that it has: what it gets, and what it must not find in it."""

from __future__ import annotations

import json
from itertools import chain

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from cht_sync.dbt.tables.model_results import ModelResult
from tests.integration.monitoring.web.scenes import MEDIC, SECRET, SENTINEL, SOURCES, USERS
from tests.integration.monitoring.web.status_server import METRICS_TOKEN, OPERATOR, STRANGER, VIEWER

pytestmark = [pytest.mark.integration, pytest.mark.slow]
NOBODY, PROMETHEUS = None, "prometheus"
EVERYBODY = (NOBODY, STRANGER, VIEWER, OPERATOR)
# An id can name a person.
ID = "person:Achieng-1987"
LISTS = ("/api/quarantine", "/api/collisions", "/api/rejects")
PATHS = [
    "", "openapi.json", "api/status", "metrics", "static/status.js", "docs", "redoc", "api", "api/", "static/..%2fapi/status",
    *(f"api/quarantine?source={source}" for source in SOURCES), *(f"api/collisions?source={source}" for source in SOURCES),
    "api/rejects?field=reported&reason=not a date in milliseconds&doc_type=data_record",
    "api/rejects?field=doc_type&reason=too long for an index",
]  # fmt: skip
FITS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
load_all_checks()
# One that people chose may be a word that pages hold anyway.
random_password = pytest.mark.embedded("postgres", "its password is searched for in answers")


@pytest.fixture
def ill(server, scenes):
    """Everything that can fail has failed on a document, and says so."""
    scenes.quarantine()
    scenes.rejects()
    scenes.rows("update v1.couchdb_quarantine set _id = %s || _id", ID)
    scenes.rows("update v1.couchdb_collision set _id = %s, key = sha256(convert_to(%s, 'UTF8'))", ID, ID)
    scenes.rows("update v1.document_rejects set uuid = %s || uuid", ID)
    # As models store it.
    said = f"22P02 (line 12): invalid input syntax for type integer: … (documents at fault: {ID}, {ID}) a, {ID})"
    scenes.fails(f'Postgres: invalid input syntax for type integer: "{SECRET}"', MEDIC)
    scenes.memory().record([ModelResult("model.a.patient", "patient", "error", said, 0.4, at_fault=[ID])])
    scenes.fails(f"model.a.patient error: {said}", "patient", task_id="models.patient")
    scenes.fails(f"model.a.person error: {said}", "person", task_id="models.person")
    scenes.fails(f"tests: {said}", dag_id="cht_data_tests", task_id="tests.person")
    scenes.fails(f"Postgres says {said}", SENTINEL)
    server.set_runs(states={**dict.fromkeys(SOURCES, "failed"), USERS: "success"})
    return scenes


def ask(server, path, who):
    if who == PROMETHEUS:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    else:
        headers = {"Authorization": f"Bearer {server.token(who)}"} if who else {}
    return requests.get(f"{server.url}/cht-sync/{path}", headers=headers, timeout=60, allow_redirects=False)


def told(answer):
    """All that an answer tells: its text as JSON has it and as people read it, and its headers."""
    text = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        text += json.dumps(answer.json(), ensure_ascii=False)
    return text + str(answer.headers)


def secrets(server, postgres_server):
    kept = json.loads((server.folder / "passwords.json").read_text()).values()
    given = server.environment()
    names = [name for name in given if name.endswith(("FERNET_KEY", "SECRET_KEY", "JWT_SECRET", "SQL_ALCHEMY_CONN"))]
    found = {*kept, *(given[name] for name in names), postgres_server.password, METRICS_TOKEN}
    assert len(names) == 4
    assert all(len(each) > 5 for each in found)
    return found


@random_password
@pytest.mark.parametrize("who", [*EVERYBODY, PROMETHEUS], ids=str)
def test_what_each_role_gets_holds_no_secret_and_no_document(server, ill, postgres_server, who):
    answers = {path: ask(server, path, who) for path in PATHS}
    codes = {path: answer.status_code for path, answer in answers.items()}
    assert set(codes.values()) <= {200, 307, 401, 403, 404}, codes
    assert {path for path, code in codes.items() if code == 200} == GETS[who]
    for path, answer in answers.items():
        for text in chain(secrets(server, postgres_server), (SECRET, "Otieno", "254700000000")):
            assert text not in told(answer), (path, text)
    with_ids = {path for path, answer in answers.items() if "Achieng" in told(answer)}
    if who == OPERATOR:
        assert {path.partition("?")[0] for path in with_ids} == {"api/status", *(each[1:] for each in LISTS)}
    else:
        assert with_ids == set()
    if who in {NOBODY, STRANGER}:
        assert [path for path, answer in answers.items() if "couch.example.org" in told(answer)] == []


PAGE = {"", "openapi.json", "api/status", "static/status.js"}
GETS = {
    NOBODY: {"static/status.js"},
    STRANGER: {"static/status.js"},
    PROMETHEUS: {"static/status.js", "metrics"},
    VIEWER: PAGE,
    OPERATOR: PAGE | {path for path in PATHS if "?" in path},
}


@random_password
@pytest.mark.parametrize("who", EVERYBODY, ids=str)
def test_a_destination_that_is_down_shows_no_secret(server, ill, postgres_server, who):
    ill.refuse_connections(True)
    try:
        answers = {path: ask(server, path, who) for path in PATHS}
    finally:
        ill.refuse_connections(False)
    lists = {answer.status_code for path, answer in answers.items() if "?" in path}
    assert lists == ({503} if who == OPERATOR else {403 if who else 401})
    for path, answer in answers.items():
        assert [text for text in secrets(server, postgres_server) if text in told(answer)] == [], path


@pytest.mark.parametrize("query", ["quarantine?source=%00", "collisions?source=a%00b", "rejects?field=%00&reason=b",
                                   "rejects?field=a&reason=b%00", "rejects?field=a&reason=b&doc_type=%00"])  # fmt: skip
def test_what_postgres_cannot_hold_is_refused(server, ill, query):
    assert ask(server, f"api/{query}", OPERATOR).status_code == 422
    assert ask(server, f"api/{query}", VIEWER).status_code == 403


@pytest.mark.parametrize("who", EVERYBODY, ids=str)
def test_whatever_is_asked_for_the_answer_is_one_that_is_described(server, ill, who):
    schema = schemathesis.openapi.from_dict(ask(server, "openapi.json", OPERATOR).json())
    schema.config.update(base_url=f"{server.url}/cht-sync")
    headers = {"Authorization": f"Bearer {server.token(who)}"} if who else {}
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        asked.add(operation.path)
        _ask_anything(operation, headers, who)
    assert asked == {"/api/status", *LISTS}


def _ask_anything(operation, headers, who):
    @settings(max_examples=20, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def ask_it(case):
        answer = case.call_and_validate(headers=headers, checks=FITS, timeout=60)
        if who == OPERATOR:
            assert answer.status_code in {200, 422}
        elif who == VIEWER:
            assert answer.status_code == (403 if operation.path in LISTS else 200)
        else:
            # Some cases bring a token of their own, which is none.
            assert answer.status_code in ({403} if who else {401, 403})

    ask_it()
