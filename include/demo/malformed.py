"""Values that real deployments hold where nobody expects them."""

from typing import Any

TIMES: tuple[Any, ...] = (
    "2024-03-01T10:00:00Z",
    "",
    1709287200000.5,
    -62_135_596_800_001,
    9_007_199_254_740_991,
    "yesterday",
    None,
    "1709287200000",
    True,
    {"$date": 1709287200000},
)
NUMBERS: tuple[Any, ...] = ("NaN", "", "12,345", -1, 1e300, None, "many", [], 0.5)


def spoil_time(doc: dict[str, Any], turn: int | None, key: str = "reported_date") -> None:
    """Put a malformed time into a document.

    :param doc: changed in place.
    :param turn: which one, counted on without end; None leaves the document as it is.
    :param key: the field.
    """
    if turn is not None:
        doc[key] = TIMES[turn % len(TIMES)]


def number(turn: int | None, sound: Any) -> Any:
    """Return a malformed number.

    :param turn: which one, counted on without end; None gives back the sound one.
    :param sound: the value of a sound document.
    """
    return sound if turn is None else NUMBERS[turn % len(NUMBERS)]
