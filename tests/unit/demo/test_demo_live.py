"""The generator of the profile `local`, with a server that is away for a while."""

import os
import subprocess
import sys
from typing import Any

import pytest
import requests

from cht_sync.settings.settings import REPOSITORY
from include.demo import live as live_module
from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.fill import FillReport
from include.demo.live import live
from include.demo.touch import TouchReport

SERVER = ("http://couchdb:5984", ("medic", "secret"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the server."""
    asked: list[tuple[str, str]] = []

    def call(_couch: Couch, method: str, path: str, **_rest: Any) -> dict[str, bool]:
        asked.append((method, path))
        return {"ok": True}

    monkeypatch.setattr(Couch, "call", call)
    monkeypatch.setattr(live_module, "RETRY_S", 0.0)
    return asked


def failing(times: int, answer: Any) -> Any:
    """A function that fails some times before it answers."""
    left = [DemoError("The CouchDB server does not answer.")] * times

    def called(*_arguments: Any) -> Any:
        if left:
            raise left.pop()
        return answer

    return called


def test_nothing_is_said_of_who_may_see_system_databases(
    calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "fill", failing(0, FillReport()))
    live(*SERVER, 100, 0.0, rounds=0)
    assert calls == [("PUT", "_users"), ("PUT", "_replicator")]


def test_a_server_that_restarts_ends_neither_filling_nor_living(
    calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live_module, "fill", failing(2, FillReport(documents=100)))
    monkeypatch.setattr(live_module, "touch", failing(3, TouchReport(edits=["a", "b"])))
    assert live(*SERVER, 100, 0.0, rounds=1) == 2
    assert capsys.readouterr().out.count("does not answer") == 5


def test_a_server_that_stays_away_is_told(calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(live_module, "fill", failing(9, FillReport()))
    with pytest.raises(DemoError, match="does not answer"):
        live(*SERVER, 100, 0.0, rounds=0)


def test_half_an_answer_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 200, b'{"rows":['
    monkeypatch.setattr(requests.Session, "request", lambda *_arguments, **_rest: answer)
    with pytest.raises(DemoError, match="gave no JSON"):
        Couch(*SERVER).call("GET", "medic/_all_docs")


def test_an_end_that_was_asked_for_is_no_failure():
    environ = {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": "1",
        "COUCHDB_USER": "medic",
        "COUCHDB_PASSWORD": "password",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "include.demo.live"],
        cwd=REPOSITORY, env=os.environ | environ, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert "Another try" in process.stdout.readline()
        process.terminate()
        assert process.wait(30) == 0
