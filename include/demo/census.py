"""Counting what a CouchDB-protocol server holds and how many rows each base model must have of it.

Nothing here is shared with the sync: it is the independent count the sync is checked against.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from include.demo.couch import Couch
from include.demo.fill import DATABASES

Doc = dict[str, Any]
BUILT_IN = ("clinic", "district_hospital", "health_center", "person")
CONTACT_TYPES = ("contact", *BUILT_IN)
SAME_NAME = ("data_record", "feedback")
MODELS = (
    "document_metadata", "contact", "contact_type", "person", "place", "patient", "data_record", "user", "feedback",
    "telemetry", "telemetry_devices",
)  # fmt: skip


@dataclass
class Census:
    """Documents and tombstones by database, and rows by base model."""

    documents: dict[str, int] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODELS, 0))


def census(url: str, auth: tuple[str, str], databases: Iterable[str] = DATABASES) -> Census:
    """Read every document of the databases and count.

    :param url: address of the server without credentials.
    :param auth: user and password.
    :param databases: names; of an id in several of them only the document in the first counts for the models, save for
        users, whose settings count wherever they are.
    :returns: the counts; of a server that is being written to they are those of no single moment.
    :raises DemoError: the server does not answer or refuses.
    """
    couch = Couch(url, auth)
    result = Census()
    counter = _Counter()
    for database in databases:
        result.documents[database] = sum(1 for _ in counter.count(couch.documents(database)))
        result.tombstones[database] = len(couch.deleted_ids(database))
    result.models |= counter.models()
    return result


class _Counter:
    """Takes documents one by one; of contacts it keeps two words each, as person types may be known only later."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._users: set[str] = set()
        self._rows = dict.fromkeys(MODELS, 0)
        self._configured: dict[str, bool] = {}
        self._contacts: dict[tuple[str, bool], int] = {}

    def count(self, docs: Iterable[Doc]) -> Iterator[None]:
        for doc in docs:
            if doc["_id"] not in self._seen:
                self._seen.add(doc["_id"])
                self._take(doc)
            if doc.get("type") == "user-settings":
                self._users.add(doc["_id"])
            yield

    def models(self) -> dict[str, int]:
        rows = dict(self._rows)
        for (contact_type, has_patient_id), number in self._contacts.items():
            person = self._configured.get(contact_type, contact_type == "person")
            if contact_type not in self._configured and contact_type not in BUILT_IN:
                continue  # the settings do not know it: neither person nor place
            rows["person" if person else "place"] += number
            rows["patient"] += number if person and has_patient_id else 0
        in_use = {contact_type for contact_type, _ in self._contacts}
        rows["contact_type"] = len(in_use | self._configured.keys())
        rows["user"] = len(self._users)
        return rows

    def _take(self, doc: Doc) -> None:
        kind = doc.get("type")
        self._rows["document_metadata"] += 1
        if doc["_id"] == "settings":
            self._configured = dict(_configured(doc))
        if not isinstance(kind, str):
            return
        if kind in CONTACT_TYPES:
            self._rows["contact"] += 1
            own = _text(doc.get("contact_type"))
            key = (kind if own is None else own, doc.get("patient_id") is not None)
            self._contacts[key] = self._contacts.get(key, 0) + 1
        elif kind in SAME_NAME:
            self._rows[kind] += 1
        elif kind == "telemetry":
            self._rows["telemetry"] += 1
            self._rows["telemetry_devices"] += 1


def _configured(settings: Doc) -> Iterator[tuple[str, bool]]:
    """Yield id and whether it is a person for each contact type of the settings document."""
    for kind in settings.get("settings", {}).get("contact_types", []):
        yield kind["id"], kind["id"] == "person" or _text(kind.get("person")) == "true"


def _text(value: Any) -> str | None:
    """Return a JSON value as PostgreSQL's `->>` does: texts bare, null as None."""
    return value if value is None or isinstance(value, str) else json.dumps(value)
