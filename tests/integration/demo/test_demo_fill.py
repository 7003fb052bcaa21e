"""Filling a server, changing it and counting it."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.demo import fill as fill_module
from include.demo.census import census
from include.demo.couch import Couch
from include.demo.errors import DemoError
from include.demo.fill import DATABASES, FillReport, fill
from include.demo.generator import generate
from include.demo.live import live
from include.demo.pouchdb import PouchDBServer
from include.demo.touch import touch
from tests.servers import mine

pytestmark = pytest.mark.integration
DOCUMENTS = 1500


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[PouchDBServer]:
    with PouchDBServer(server_folder / "filled") as server:
        yield server


@pytest.fixture(scope="module")
def report(server: PouchDBServer) -> FillReport:
    return fill(server.url, server.auth, DOCUMENTS)


def generations(couch: Couch, database: str) -> dict[str, str]:
    """Return revision by id, tombstones with their fields counted in."""
    rows = couch.call("GET", f"{database}/_changes", include_docs=True)["results"]
    return {row["id"]: f"{row['changes'][0]['rev']} {sorted(row['doc'])}" for row in rows}


def test_every_document_is_written_and_some_are_edited_or_deleted(server: PouchDBServer, report: FillReport) -> None:
    found = census(server.url, server.auth)
    assert report.documents == DOCUMENTS == sum(found.documents.values()) + sum(found.tombstones.values())
    assert report.deletes == sum(found.tombstones.values())
    assert 0.01 < report.deletes / DOCUMENTS < 0.03
    assert 0.015 < report.edits / DOCUMENTS < 0.045
    assert found.models["document_metadata"] == DOCUMENTS - report.deletes


def test_some_tombstones_keep_their_fields(server: PouchDBServer, report: FillReport) -> None:
    rows = Couch(server.url, server.auth).call("GET", "medic/_changes", include_docs=True)["results"]
    sizes = {len(row["doc"]) > 3 for row in rows if row.get("deleted")}
    assert sizes == {True, False}


def test_forms_have_a_definition_and_one_was_published_again(server: PouchDBServer, report: FillReport) -> None:
    couch = Couch(server.url, server.auth)
    rows = couch.call("GET", "medic/_all_docs", include_docs=True, startkey='"form:"', endkey='"form:~"')["rows"]
    assert {row["id"] for row in rows if row["value"]["rev"].startswith("2-")} == {"form:pregnancy"}
    for row in rows:
        doc = couch.call("GET", f"medic/{row['id']}", attachments=True)
        content = base64.b64decode(doc["_attachments"]["xml"]["data"])
        assert row["doc"]["_attachments"]["xml"]["stub"]
        assert doc["xmlVersion"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert (b"haemoglobin" in content) == (row["id"] == "form:pregnancy")


def test_a_filled_server_is_left_alone(server: PouchDBServer, report: FillReport) -> None:
    before = generations(Couch(server.url, server.auth), "medic")
    assert fill(server.url, server.auth, DOCUMENTS).already_filled
    assert generations(Couch(server.url, server.auth), "medic") == before


def test_another_deployment_on_the_same_server_is_refused(server: PouchDBServer, report: FillReport) -> None:
    with pytest.raises(DemoError, match=f"filled with {DOCUMENTS} documents of seed 1, asked were 200"):
        fill(server.url, server.auth, 200)


def test_visitors_read_nothing(server: PouchDBServer, report: FillReport) -> None:
    with pytest.raises(DemoError, match="401"):
        Couch(server.url, ("", "")).call("GET", "medic")


def test_interrupted_fill_is_completed_to_the_same_revisions(
    server: PouchDBServer, report: FillReport, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "CHUNK", 100)
    monkeypatch.setattr(fill_module, "LATER", 5)
    with PouchDBServer(server_folder / "interrupted") as other:
        with monkeypatch.context() as broken:
            write, calls = Couch.write, iter(range(100))

            def fail(self: Couch, database: str, docs: list[dict[str, Any]]) -> dict[str, str]:
                if next(calls) == 9:
                    raise DemoError("the network is gone")
                return write(self, database, docs)

            broken.setattr(Couch, "write", fail)
            with pytest.raises(DemoError, match="network"):
                fill(other.url, other.auth, DOCUMENTS)
        rest = fill(other.url, other.auth, DOCUMENTS)
        assert 0 < rest.documents < DOCUMENTS
        for database in DATABASES:
            whole, resumed = (generations(Couch(one.url, one.auth), database) for one in (server, other))
            assert resumed == whole


def test_census_counts_what_the_generator_made(server: PouchDBServer, report: FillReport) -> None:
    deleted = {name: Couch(server.url, server.auth).deleted_ids(name) for name in DATABASES}
    left = [doc for database, doc in generate(DOCUMENTS) if doc["_id"] not in deleted[database]]
    persons = {"person", "c81_chw", "c82_member"}
    kinds = [
        doc.get("contact_type", doc["type"]) for doc in left
        if doc.get("type") in ("contact", "person", "clinic", "health_center", "district_hospital")
    ]  # fmt: skip
    models = census(server.url, server.auth).models
    assert models["contact"] == len(kinds)
    assert models["person"] == sum(kind in persons for kind in kinds)
    # A type that the settings do not know is neither a person nor a place.
    (settings,) = (doc for doc in left if doc["_id"] == "settings")
    known = {each["id"] for each in settings["settings"]["contact_types"]} | {
        "clinic",
        "health_center",
        "district_hospital",
    }
    assert models["place"] == sum(kind in known - persons for kind in kinds)
    assert models["contact_type"] == 10
    for model, kind in (("data_record", "data_record"), ("user", "user-settings"), ("telemetry_devices", "telemetry")):
        assert models[model] == sum(doc.get("type") == kind for doc in left)


def test_census_of_odd_documents(couchdb_server: PouchDBServer) -> None:
    couch = Couch(couchdb_server.url, couchdb_server.auth)
    odd, odd_two = mine("odd"), mine("odd-two")
    for name in (odd, odd_two):
        couch.create_database(name)
    types = [{"id": "boss", "person": True}, {"id": "home"}, {"id": "text", "person": "true"}, {"id": "empty"}]
    couch.write(
        odd,
        [
            {"_id": "settings", "settings": {"contact_types": types}},
            {"_id": "_design/one"},
            {"_id": "p1", "type": "contact", "contact_type": "boss", "patient_id": "1"},
            {"_id": "p2", "type": "person", "patient_id": None},
            {"_id": "p3", "type": "contact", "contact_type": "text", "patient_id": ""},
            {"_id": "h1", "type": "contact", "contact_type": "home", "patient_id": "2"},
            {"_id": "h2", "type": "contact", "contact_type": "unknown"},
            {"_id": "h3", "type": "clinic", "contact_type": None},
            {"_id": "twice", "type": "data_record"},
            {"_id": "odd", "type": 5},
        ],
    )
    couch.write(odd_two, [{"_id": "twice", "type": "data_record"}, {"_id": "gone"}])
    couch.write(odd_two, [{"_id": "gone", "_rev": couch.states(odd_two, ["gone"])["gone"], "_deleted": True}])
    found = census(couchdb_server.url, couchdb_server.auth, (odd, odd_two))
    assert found.documents == {odd: 10, odd_two: 1}
    assert found.tombstones == {odd: 0, odd_two: 1}
    assert found.models == {
        "document_metadata": 10, "contact": 6, "contact_type": 7, "person": 3, "place": 2, "patient": 2,
        "data_record": 1, "user": 0, "feedback": 0, "telemetry": 0, "telemetry_devices": 0,
    }  # fmt: skip


def test_census_counts_users_by_their_settings_wherever_they_are(couchdb_server: PouchDBServer) -> None:
    couch = Couch(couchdb_server.url, couchdb_server.auth)
    brought = {"odd-settings": ("user-settings", "ada", "bo"), "odd-logins": ("user", "ada", "cy")}
    for database, (kind, *names) in brought.items():
        couch.create_database(database)
        couch.write(database, [{"_id": f"org.couchdb.user:{name}", "type": kind} for name in names])
    for order in (("odd-settings", "odd-logins"), ("odd-logins", "odd-settings")):
        found = census(couchdb_server.url, couchdb_server.auth, order)
        assert (found.models["user"], found.models["document_metadata"]) == (2, 3)


def test_documents_are_read_once_each_whatever_the_page(server: PouchDBServer, report: FillReport) -> None:
    couch = Couch(server.url, server.auth)
    ids = [doc["_id"] for doc in couch.documents("medic", page=37)]
    assert ids == sorted(set(ids))
    assert len(ids) == len(list(couch.documents("medic")))


def test_touch_changes_what_it_says(server_folder: Path) -> None:
    with PouchDBServer(server_folder / "touched") as server:
        fill(server.url, server.auth, 400)
        check_touch(server)


def check_touch(server: PouchDBServer) -> None:
    couch = Couch(server.url, server.auth)
    before, state = census(server.url, server.auth), generations(couch, "medic")
    touched = touch(server.url, server.auth, edits=7, deletes=3, creates=5, seed=1)
    after, changed = census(server.url, server.auth), generations(couch, "medic")
    assert (len(touched.edits), len(touched.deletes), len(touched.creates)) == (7, 3, 5)
    assert {key for key, value in changed.items() if state.get(key) != value} == {
        *touched.edits, *touched.deletes, *touched.creates,
    }  # fmt: skip
    assert set(touched.deletes) <= couch.deleted_ids("medic")
    assert after.tombstones["medic"] == before.tombstones["medic"] + 3
    assert after.documents["medic-sentinel"] == before.documents["medic-sentinel"] + 5
    assert after.models["data_record"] <= before.models["data_record"] + 5


@pytest.mark.embedded("couchdb", "a deployment that the server holds would be changed")
def test_touch_of_an_empty_server_says_what_to_do(couchdb_server: PouchDBServer) -> None:
    with pytest.raises(DemoError, match="fill it first"):
        touch(couchdb_server.url, couchdb_server.auth)


def test_a_filled_server_lives_on(server: PouchDBServer, report: FillReport) -> None:
    before = census(server.url, server.auth)
    assert live(server.url, server.auth, DOCUMENTS, pause=0.0, rounds=2) == 2 * (10 + 2 + 10)
    after = census(server.url, server.auth)
    assert sum(after.tombstones.values()) >= sum(before.tombstones.values()) + 2
    assert sum(after.documents.values()) > sum(before.documents.values())
