"""Documents as the CHT has them."""

from typing import Any

REPORTED = 1_700_000_000_000
CONTACTS = ("document_metadata", "contact", "contact_type", "person", "place", "patient")
MODELS = (*CONTACTS, "data_record", "user", "feedback", "telemetry", "telemetry_devices", "document_rejects")


def person(uuid: str, **more: Any) -> dict[str, Any]:
    """A person of the built-in type."""
    return {"_id": uuid, "type": "person", "name": f"Person {uuid}", "reported_date": REPORTED, **more}


def place(uuid: str, **more: Any) -> dict[str, Any]:
    """A place of the built-in type clinic."""
    return {"_id": uuid, "type": "clinic", "name": f"Place {uuid}", "reported_date": REPORTED, **more}


def contact(uuid: str, contact_type: str, **more: Any) -> dict[str, Any]:
    """A contact of a configured type."""
    return {"_id": uuid, "type": "contact", "contact_type": contact_type, "reported_date": REPORTED, **more}


def report(uuid: str, **more: Any) -> dict[str, Any]:
    """A report of the app."""
    return {"_id": uuid, "type": "data_record", "form": "pregnancy", "reported_date": REPORTED, **more}


def telemetry(uuid: str, **more: Any) -> dict[str, Any]:
    """The telemetry of a day."""
    return {
        "_id": uuid,
        "type": "telemetry",
        "metadata": {"year": 2024, "month": 9, "day": 11, "user": "ada", "versions": {"app": "4.15.0"}},
        "metrics": {"boot_time": {"min": 0.5, "max": 1.5, "count": 2}},
        "dbInfo": {"doc_count": 20},
        "device": {
            "userAgent": "Chrome",
            "deviceInfo": {
                "hardware": {"manufacturer": "Google", "model": "Pixel"},
                "software": {"androidVersion": "14"},
                "app": {"version": "1.0"},
                "storage": {"free": 100, "total": 200},
                "network": {"upSpeed": 10, "downSpeed": 20},
            },
        },
        **more,
    }


def settings(*types: Any) -> dict[str, Any]:
    """The settings with contact types."""
    return {"_id": "settings", "settings": {"contact_types": list(types)}}
