"""What the starter has to make of each document, written down apart from its SQL.

For each column of each model a document leads to one of three: a value, null, or null and a row in document_rejects.
:func:`expected` says which, whatever JSON the document holds in whatever place.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from json import dumps
from typing import Any

# What is beyond this does not fit an entry of an index.
LONGEST_ID = 2600
BLANKS = " \t\n\r\f\v\u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
PLACES = ("clinic", "district_hospital", "health_center")
CONTACTS = ("contact", "person", *PLACES)
TYPES = (*CONTACTS, "data_record", "telemetry", "feedback", "user-settings", "user")
# Of the settings that the documents are read with: None for a type of which they say no sense.
SETTINGS_TYPES: list[Any] = [
    {"id": "chw", "person": True},
    {"id": "village", "person": False},
    {"id": "post"},
    {"id": "odd", "person": "maybe"},
    {"id": "text", "person": "yes"},
]
PERSON_TYPES = {"chw": True, "village": False, "post": False, "odd": None, "text": True, "person": True}
PERSON_TYPES |= dict.fromkeys(PLACES, False)

Path = tuple[str, ...]
Cast = Callable[[Any], Any]


def text_of(value: Any) -> str:
    """A JSON value as PostgreSQL writes it as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return dumps(value)
    if isinstance(value, int | float):
        return format(Decimal(dumps(value)), "f")
    return dumps(_ordered(value), ensure_ascii=False)


def _ordered(value: Any) -> Any:
    """A JSON value whose keys are in the order of jsonb."""
    if isinstance(value, list):
        return [_ordered(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))}


def says_nothing(value: Any) -> bool:
    """Whether a value is no value: null, or an empty text, list or object."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip(BLANKS))


def free_text(value: Any) -> str | None:
    """A text, a number, true or false."""
    return None if isinstance(value, list | dict) or says_nothing(value) else text_of(value)


def identifier(value: Any) -> str | None:
    """A text or a number that is not too long for an index."""
    text = None if isinstance(value, bool) else free_text(value)
    return text if text is not None and len(text.encode()) <= LONGEST_ID else None


def number(value: Any) -> str | None:
    """A number, or a text that PostgreSQL casts to one."""
    text = text_of(value)
    pattern = r"[ \t\n\r\f\v]*[+-]?([0-9]{1,255}(\.[0-9]{0,255})?|\.[0-9]{1,255})([eE][+-]?[0-9]{1,2})?[ \t\n\r\f\v]*"
    return text if not isinstance(value, bool | list | dict) and re.fullmatch(pattern, text) else None


def milliseconds(value: Any) -> datetime | None:
    """The time of a date in milliseconds, cut to seconds."""
    found = re.fullmatch(r"[ \t\n\r\f\v]*([+-]?[0-9]{1,18})(\.0*)?[ \t\n\r\f\v]*", text_of(value))
    if isinstance(value, list | dict) or not found or not 10**11 <= int(found[1]) < 253_402_300_800_000:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(found[1]) // 1000)


def iso_time(value: Any) -> str | None:
    """A day or a time in ISO 8601, as it is written."""
    clock = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?))?"
    if not isinstance(value, str) or not re.fullmatch(rf"\d{{4}}-\d{{2}}-\d{{2}}({clock})?", value, re.ASCII):
        return None
    try:
        day, seconds = value[:10], re.match(r"\d{2}:\d{2}(:\d{2})?", value[11:])
        datetime.fromisoformat(f"{day}T{seconds[0]}" if seconds else day)
    except ValueError:
        return None
    return value


def boolean(value: Any) -> bool | None:
    """What PostgreSQL reads as true or false."""
    said = "" if isinstance(value, list | dict) or value is None else text_of(value).strip(" ").lower()
    return {**dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
            **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False)}.get(said)  # fmt: skip


def muted(value: Any) -> str | None:
    """Since when, or `true`."""
    if boolean(value) is not None:
        return "true" if boolean(value) else None
    return iso_time(value) or (text_of(value) if milliseconds(value) else None)


def roles(value: Any) -> str | None:
    """A list of texts."""
    good = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    return text_of(value) if good else None


def nothing_muted(value: Any) -> bool:
    """What says that a contact is not muted is no reject."""
    return says_nothing(value) or boolean(value) is False


@dataclass(frozen=True)
class Column:
    """A column of a model, and where its values come from; the first that can be used counts."""

    model: str
    name: str
    cast: Cast
    paths: tuple[Path, ...]
    nothing: Callable[[Any], bool] = says_nothing

    def read(self, document: dict[str, Any]) -> tuple[Any, bool]:
        """The value, and whether the document says something that cannot be used."""
        rejected = False
        for path in self.paths:
            value: Any = document
            for key in path:
                if not isinstance(value, dict):
                    break
                value = value.get(key)
            else:
                made = None if value is None else self.cast(value)
                if made is not None:
                    return made, False
            rejected = rejected or not self.nothing(value)
        return None, rejected


def columns(model: str, **cast_and_paths: tuple[Any, ...]) -> tuple[Column, ...]:
    """Columns by name: the cast, then the paths with dots."""
    return tuple(
        Column(model, name, cast, tuple(tuple(path.split(".")) for path in paths))
        for name, (cast, *paths) in cast_and_paths.items()
    )


INFO = "device.deviceInfo"
COLUMNS: dict[str, tuple[Column, ...]] = {
    "contact": (
        *columns(
            "contact", reported=(milliseconds, "reported_date"), parent_uuid=(identifier, "parent._id"),
            name=(free_text, "name"), active=(free_text, "is_active"), notes=(free_text, "notes"),
        ),
        Column("contact", "muted", muted, (("muted",),), nothing_muted),
    ),
    "person": columns(
        "person", sex=(free_text, "sex"), phone=(free_text, "phone"), phone2=(free_text, "alternative_phone"),
        patient_id=(identifier, "patient_id"),
    ),
    "patient": columns("patient", patient_id=(identifier, "patient_id")),
    "place": columns("place", contact_id=(identifier, "contact_id"), place_id=(identifier, "place_id")),
    "data_record": columns(
        "data_record", reported=(milliseconds, "reported_date"), form=(identifier, "form"), from_phone=(identifier, "from"),
        patient_id=(identifier, "patient_id", "fields.patient_id", "fields.patient_uuid"),
        place_id=(identifier, "place_id", "fields.place_id"), contact_uuid=(identifier, "contact._id"),
        parent_uuid=(identifier, "contact.parent._id"), grandparent_uuid=(identifier, "contact.parent.parent._id"),
    ),
    "user": columns(
        "user", contact_uuid=(identifier, "contact_id", "facility_id"), language=(free_text, "language"),
        roles=(roles, "roles"),
    ),
    "feedback": columns(
        "feedback", source=(free_text, "meta.source"), url=(free_text, "meta.url"), user_name=(identifier, "meta.user.name"),
        period_start=(iso_time, "meta.time"),
    ),
    "telemetry": columns(
        "telemetry", user_name=(identifier, "metadata.user"), app_version=(identifier, "metadata.versions.app"),
        boot_time_min=(number, "metrics.boot_time.min"), boot_time_max=(number, "metrics.boot_time.max"),
        boot_time_count=(number, "metrics.boot_time.count"), doc_count_on_local_db=(number, "dbInfo.doc_count"),
    ),
    "telemetry_devices": columns(
        "telemetry_devices", device_manufacturer=(free_text, f"{INFO}.hardware.manufacturer"),
        device_model=(free_text, f"{INFO}.hardware.model"), user_agent=(free_text, "device.userAgent"),
        cht_android_version=(free_text, f"{INFO}.app.version"), android_version=(identifier, f"{INFO}.software.androidVersion"),
        storage_free=(number, f"{INFO}.storage.free"), storage_total=(number, f"{INFO}.storage.total"),
        network_up_speed=(number, f"{INFO}.network.upSpeed"), network_down_speed=(number, f"{INFO}.network.downSpeed"),
    ),
}  # fmt: skip
MODELS_OF = {
    "data_record": ("data_record",),
    "telemetry": ("telemetry", "telemetry_devices"),
    "feedback": ("feedback",),
    "user-settings": ("user",),
}


@dataclass
class Expected:
    """The rows of a document, by model, and the columns that are rejected."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejects: set[str] = field(default_factory=set)

    def add(self, model: str, document: dict[str, Any]) -> dict[str, Any]:
        """The row of a model, from its columns."""
        row = self.rows.setdefault(model, {})
        for column in COLUMNS[model]:
            row[column.name], rejected = column.read(document)
            if rejected:
                self.rejects.add(column.name)
        return row


def doc_type(document: dict[str, Any]) -> str | None:
    """The type, as the CHT compares it."""
    said = document.get("type")
    if not isinstance(said, str) or not said or said != said.strip(BLANKS) or identifier(said) is None:
        return None
    return said if said in TYPES or said.lower() not in TYPES else None


def expected(document: dict[str, Any]) -> Expected:
    """What the models have to hold of a document.

    :param document: any JSON object; of its types of contact the settings know :data:`SETTINGS_TYPES`.
    """
    result, kind = Expected(), doc_type(document)
    result.rows["document_metadata"] = {"doc_type": kind}
    if kind is None and not says_nothing(document.get("type")):
        result.rejects.add("doc_type")
    if kind in CONTACTS:
        _add_contact(result, document, kind or "")
    for model in MODELS_OF.get(kind or "", ()):
        row = result.add(model, document)
        if model == "feedback":
            _add_info(result, row, document.get("info"))
        if model.startswith("telemetry"):
            row["period_start"], rejected = period(document.get("metadata"))
            result.rejects |= {"period_start"} if rejected else set()
    return result


def _add_contact(result: Expected, document: dict[str, Any], kind: str) -> None:
    contact_type = identifier(document.get("contact_type")) or (kind if kind != "contact" else None)
    result.add("contact", document)["contact_type"] = contact_type
    is_person = PERSON_TYPES.get(contact_type or "")
    if is_person is None:
        result.rejects.add("contact_type")
        return
    row = result.add("person" if is_person else "place", document)
    if is_person and row["patient_id"] is not None:
        result.add("patient", document)


def _add_info(result: Expected, row: dict[str, Any], info: Any) -> None:
    inside = info if isinstance(info, dict) else {}
    cause, message = inside.get("cause"), inside.get("message")
    if says_nothing(cause):
        row["cause"] = None if says_nothing(info) else text_of(info)
    else:
        row["cause"] = free_text(cause)
    row["message"] = None if message is None else free_text(message)
    result.rejects |= {
        name for name, said in (("cause", cause), ("message", message)) if row[name] is None and not says_nothing(said)
    }


def period(metadata: Any) -> tuple[str | None, bool]:
    """The first day of a telemetry document, as text, and whether what it says is none."""
    if not isinstance(metadata, dict):
        return None, not says_nothing(metadata)
    said = [metadata.get(part) for part in ("year", "month", "day")]
    day = None if says_nothing(said[2]) else said[2]
    month = _month(said[1], metadata.get("versions"), day)
    try:
        texts = [text_of(part) for part in (said[0], "?" if month is None else month, 1 if day is None else day)]
        assert re.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", "-".join(texts))
        return datetime(*map(int, texts)).strftime("%Y-%m-%d").zfill(10), False  # type: ignore[arg-type]
    except (ValueError, AssertionError):
        return None, not all(map(says_nothing, said))


def _month(said: Any, versions: Any, day: Any) -> int | None:
    if isinstance(said, bool | list | dict) or not re.fullmatch(r"[0-9]{1,2}", text_of(said)):
        return None
    month, app = int(text_of(said)), versions.get("app") if isinstance(versions, dict) else None
    found = re.match(
        r"[^0-9]{0,40}([0-9]{1,2})(?![0-9])(?:[._]([0-9]{1,4})(?![0-9]))?",
        "" if app is None or isinstance(app, list | dict | bool) else text_of(app),
    )
    major, minor = (int(found[1]), found[2]) if found else (3, None)
    if major < 3 or (major == 3 and minor and int(minor) < 8):
        return month + 1
    if major > 3 or minor or day is not None:
        return month
    return {0: 1, 12: 12}.get(month)


def paths_of(kind: str) -> Iterator[Path]:
    """Every place in a document of a type that a model reads, and every place on the way to it.

    :param kind: the type.
    """
    contacts = ("contact", "person", "place") if kind in CONTACTS else MODELS_OF[kind]
    found = {path[:depth] for model in contacts for column in COLUMNS[model]
             for path in column.paths for depth in range(1, len(path) + 1)}  # fmt: skip
    found |= {("type",)}
    found |= {("contact_type",)} if kind in CONTACTS else set()
    found |= {("info",), ("info", "cause"), ("info", "message")} if kind == "feedback" else set()
    found |= {("metadata", part) for part in ("year", "month", "day", "versions")} if kind == "telemetry" else set()
    yield from sorted(found)
