"""For every column of every model, whatever a document holds: a value, null, or null and a row in document_rejects."""

import copy
import json
from datetime import datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg2.extras import execute_values
from starter_documents import REPORTED, telemetry
from starter_documents import settings as settings_of
from starter_warehouse import Warehouse
from truth_tables import BLANKS, COLUMNS, SETTINGS_TYPES, Path, expected, paths_of

pytestmark = pytest.mark.integration

TOO_LONG = "".join(f"{n:x}" for n in range(1500))
VALUES: list[Any] = [
    None, "", "  ", "\u00a0\t", "\u200b", [], {}, True, False, 0, 1, -1, 7, 1.5, "7", "abc", " abc ", "Abc", TOO_LONG, [TOO_LONG],
    ["a"], ["a", 1], [["a"]], [None], [{}], {"_id": "a"}, {"a": [1]}, "[]", "{}", "null", "true", "TRUE", " False ", "no",
    REPORTED, str(REPORTED), REPORTED // 1000, -REPORTED, REPORTED * 1000, 1700000000000.5, f" +{REPORTED}.000 ", 10**11, 10**11 - 1,
    "2024-02-29", "2024-02-30", "2023-02-29", "0000-01-01", "2024-02-29T10:00:00.000Z", "2024-02-29 10:00+03:00",
    "2024-01-01T25:00:00Z", "2024-01-01T10:00:00+20:00", "2024-13-01", "yesterday", "Thu Feb 29 2024 10:00:00 GMT", "12:00",
    "NaN", "Infinity", 10**30, 10**300, "1e3", "1e400", "0x10", "1,5", "\u0661\u0662", " 12 ", "\\u0000", "null\u0001", "😀",
    "person", "Person", "person ", "clinic", "chw", "CHW", "village", "odd", "mystery", "contact", "data_record", "user-settings",
]  # fmt: skip


def documents() -> dict[str, dict[str, Any]]:
    """A document of each kind with a good value in every place that a model reads."""
    lineage = {"_id": "chw-1", "parent": {"_id": "place-1", "parent": {"_id": "place-2"}}}
    contact = {"reported_date": REPORTED, "name": "A", "parent": {"_id": "place-1"}, "notes": "n", "is_active": True,
               "muted": "2024-01-01T00:00:00.000Z"}  # fmt: skip
    return {
        "person": {**contact, "type": "person", "sex": "female", "phone": "+1", "alternative_phone": "+2", "patient_id": "1"},
        "contact": {**contact, "type": "contact", "contact_type": "chw", "patient_id": "2"},
        "clinic": {**contact, "type": "clinic", "contact_id": "chw-1", "place_id": "3"},
        "data_record": {"type": "data_record", "form": "f", "from": "+1", "reported_date": REPORTED, "contact": lineage,
                        "patient_id": "1", "place_id": "3"},
        "user-settings": {"type": "user-settings", "contact_id": "chw-1", "language": "sw", "roles": ["chw"]},
        "feedback": {"type": "feedback", "meta": {"source": "s", "url": "u", "user": {"name": "ada"}, "time": "2024-01-01"},
                     "info": {"cause": "c", "message": "m"}},
        "telemetry": {key: value for key, value in telemetry("").items() if key != "_id"},
    }  # fmt: skip


def put(document: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The document with another value in one place."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        if not isinstance(inner.get(key), dict):
            inner[key] = {}
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def save(warehouse: Warehouse, documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Saves documents in one go; settings of users get an id of users."""
    named = {}
    for number, document in enumerate(documents):
        name = f"org.couchdb.user:{number}" if document.get("type") == "user-settings" else f"d{number}"
        named[name] = {**document, "_id": name}
    rows = [
        (warehouse.stamp(), name, False, "couch.org/medic", json.dumps(document)) for name, document in named.items()
    ]
    with warehouse.connection.cursor() as cursor:
        execute_values(cursor, "insert into v1.couchdb values %s", rows, page_size=500)
    return named


def found(warehouse: Warehouse, model: str) -> dict[str, dict[str, Any]]:
    """The rows of a model by id, without the columns that no field of a document decides."""
    rows = {}
    key = "user_id" if model == "user" else "uuid"
    for (row,) in warehouse.rows(f'select to_jsonb(m) from v1."{model}" as m'):
        name = row.pop(key)
        rows[name] = {k: v for k, v in row.items() if k not in ("saved_timestamp", "_deleted", "instance", "dbname")}
    return rows


def as_json(model: str, row: dict[str, Any]) -> dict[str, Any]:
    """An expected row as `to_jsonb` shows it in UTC."""
    shown = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
    if model.startswith("telemetry") and shown["period_start"]:
        shown["period_start"] += "T00:00:00+00:00"
    return shown


def differences(warehouse: Warehouse, named: dict[str, dict[str, Any]]) -> list[Any]:
    """Every column that is not what it has to be, and every reject that is missing or too many."""
    wanted = {name: expected(document) for name, document in named.items()}
    different: list[Any] = []
    for model in ("document_metadata", *COLUMNS):
        rows = found(warehouse, model)
        for name, each in wanted.items():
            row = as_json(model, each.rows[model]) if model in each.rows else None
            if rows.get(name) != row:
                different.append((model, named[name], rows.get(name), row))
    rejects: dict[str, set[str]] = {}
    for name, field in warehouse.rows("select uuid, field from v1.document_rejects where uuid <> 'settings'"):
        rejects.setdefault(name, set()).add(field)
    different += [
        ("document_rejects", named[name], rejects.get(name, set()), each.rejects)
        for name, each in wanted.items()
        if rejects.get(name, set()) != each.rejects
    ]
    return different


def test_every_value_in_every_place(warehouse: Warehouse) -> None:
    """Each place that a model reads, and each on the way to it, holds each odd value in turn."""
    made = []
    for kind, document in documents().items():
        for path in paths_of(kind):
            made += [put(document, path, value) for value in VALUES]
    warehouse.save(settings_of(*SETTINGS_TYPES))
    named = save(warehouse, made)
    warehouse.run()
    assert differences(warehouse, named)[:5] == []


def odd_json(dice: Random, depth: int = 3) -> Any:
    """Any JSON value."""
    make = dice.choice(
        [odd_text, odd_number, dice_of_values, odd_list, odd_object] if depth else [odd_text, dice_of_values]
    )
    return make(dice, depth - 1)


def odd_text(dice: Random, _: int) -> str:
    """A few characters of any kind, save U+0000 and surrogates, which PostgreSQL cannot hold."""
    ranges = [(1, 127), (0xA0, 0x24FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    text = "".join(chr(dice.randint(*dice.choice(ranges))) for _ in range(dice.randint(0, 6)))
    # What is a blank elsewhere in Unicode is no matter of these tests.
    return text if text.strip() and not {c for c in text if c.isspace() and c not in BLANKS} else "x"


def odd_number(dice: Random, _: int) -> Any:
    """A whole number of any size."""
    return dice.choice([-1, 1]) * dice.randint(0, 10 ** dice.randint(0, 40))


def dice_of_values(dice: Random, _: int) -> Any:
    """One of the known ones."""
    return dice.choice(VALUES)


def odd_list(dice: Random, depth: int) -> list[Any]:
    """A list of any JSON values."""
    return [odd_json(dice, depth) for _ in range(dice.randint(0, 3))]


def odd_object(dice: Random, depth: int) -> dict[str, Any]:
    """An object whose keys are some that models read."""
    keys = ["_id", "parent", "boot_time", "min", "app", "name", "type", "patient_id", "cause", "x"]
    return {key: odd_json(dice, depth) for key in dice.sample(keys, dice.randint(0, 4))}


@settings(
    max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
@given(seed=st.integers(0, 2**32))
def test_any_json_in_any_place(warehouse: Warehouse, seed: int) -> None:
    """Whatever is where, no model fails, and each column is what the table says."""
    dice, made = Random(seed), []
    places = {kind: list(paths_of(kind)) for kind in documents()}
    for _ in range(2000):
        kind = dice.choice(sorted(places))
        document = documents()[kind]
        for path in dice.choices(places[kind], k=dice.randint(1, 6)):
            document = put(document, path, odd_json(dice))
        made.append(document)
    warehouse.create()
    warehouse.save(settings_of(*SETTINGS_TYPES))
    named = save(warehouse, made)
    warehouse.run()
    assert differences(warehouse, named)[:5] == []
