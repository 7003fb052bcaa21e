"""The generated deployment: the same for the same seed, complete, and like a real one where models look."""

import hashlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from include.demo.errors import DemoError
from include.demo.generator import generate

CONTACT_TYPES = {"contact", "clinic", "district_hospital", "health_center", "person"}


@pytest.fixture(scope="module")
def deployment() -> list[tuple[str, dict[str, Any]]]:
    return list(generate(3000, seed=7, malformed=0.01))


def of_type(deployment: list[tuple[str, dict[str, Any]]], *types: str) -> Iterator[dict[str, Any]]:
    return (doc for _, doc in deployment if doc.get("type") in types)


def digest(**arguments: Any) -> str:
    return hashlib.sha256(json.dumps(list(generate(**arguments))).encode()).hexdigest()


def test_same_seed_gives_the_same_documents() -> None:
    assert digest(documents=500, seed=3) == digest(documents=500, seed=3)


def test_documents_do_not_change_between_versions_of_python_or_of_this_code() -> None:
    # A filled server is resumed by generating again: a change here is a change of every filled folder.
    first = next(doc for _, doc in generate(500, seed=3) if doc.get("type") == "person")
    assert first["_id"] == "e07b3298-2632-4b68-a9f6-3a869bb9b85e"


def test_another_seed_gives_other_ids() -> None:
    ids = [{doc["_id"] for _, doc in generate(500, seed) if doc.get("type") == "person"} for seed in (1, 2)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("documents", [100, 101, 999, 3000])
def test_exactly_as_many_documents_as_asked_each_with_its_own_id(documents: int) -> None:
    ids = Counter((database, doc["_id"]) for database, doc in generate(documents))
    assert len(ids) == documents == ids.total()


@pytest.mark.parametrize(
    ("arguments", "named"), [({"documents": 10}, "documents is 10"), ({"malformed": 2}, "malformed")]
)
def test_impossible_sizes_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(DemoError, match=named):
        next(generate(**arguments))


def test_memory_does_not_grow_with_the_deployment() -> None:
    tracemalloc.start()
    for _ in islice(generate(2_000_000), 3000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_every_parent_is_a_place_of_the_deployment(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    contacts = {doc["_id"]: doc for doc in of_type(deployment, *CONTACT_TYPES)}
    for doc in contacts.values():
        parent, depth = doc["parent"], 0
        while parent:
            assert parent["_id"] in contacts
            parent, depth = parent.get("parent"), depth + 1
        assert depth <= 3


def test_every_contact_and_report_has_an_info_document(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    infos = {
        doc["doc_id"] for database, doc in deployment if database == "medic-sentinel" and doc.get("type") == "info"
    }
    assert infos == {doc["_id"] for doc in of_type(deployment, "data_record", *CONTACT_TYPES)}


def test_what_apps_tell_of_themselves_is_in_a_database_of_its_own(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    databases = {(doc.get("type"), database) for database, doc in deployment}
    assert {database for kind, database in databases if kind in ("telemetry", "feedback")} == {"medic-users-meta"}
    assert {kind for kind, database in databases if database == "medic-users-meta"} == {"telemetry", "feedback"}


def test_kinds_of_a_real_server_are_there(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    types = Counter(doc.get("type") for _, doc in deployment)
    wanted = CONTACT_TYPES | {
        "data_record",
        "user-settings",
        "telemetry",
        "feedback",
        "task",
        "target",
        "form",
        "info",
        None,
    }
    assert wanted <= types.keys()
    assert {doc["form"] for doc in of_type(deployment, "data_record")} >= {"pregnancy", "stock_report", "P", None}
    assert any(doc.get("errors") for doc in of_type(deployment, "data_record"))
    assert any(doc.get("muted") for doc in of_type(deployment, "person", "contact"))
    assert {type(doc["info"]) for doc in of_type(deployment, "feedback")} == {str, dict}
    old = [doc for doc in of_type(deployment, "telemetry") if doc["metadata"]["versions"]["app"] == "3.7.0"]
    assert old
    assert all("day" not in doc["metadata"] for doc in old)


def test_text_holds_scripts_of_the_world_and_a_typed_escape(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    text = json.dumps([doc for _, doc in deployment], ensure_ascii=False)
    for piece in ("सीता", "አበባ", "Aïssatou", "🏥", r"C:\\u0000dir"):
        assert piece in text


def test_malformed_times_are_of_every_sort_and_none_are_there_when_not_wanted() -> None:
    def sorts(malformed: float) -> set[type]:
        docs = of_type(list(generate(4000, malformed=malformed)), "data_record", *CONTACT_TYPES)
        return {type(doc["reported_date"]) for doc in docs}

    assert sorts(0.01) >= {int, str, float, type(None)}
    assert sorts(0) == {int}


def test_sizes_are_those_of_real_documents(deployment: list[tuple[str, dict[str, Any]]]) -> None:
    sizes = [len(json.dumps(doc, ensure_ascii=False).encode()) for _, doc in deployment]
    assert 500 < sum(sizes) / len(sizes) < 2000
