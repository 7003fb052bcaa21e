import pytest

from cht_sync.common.text import counted, duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.6, "1 min"), (7500, "2 h 5 min"), (3601, "1 h"), (90_000, "1 d 1 h"), (65, "1 min 5 s")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_numbers_say_where_counting_stopped():
    assert counted(1, "document", "documents", 10) == "1 document"
    assert counted(10, "document", "documents", 10) == "10 documents"
    assert counted(11, "document", "documents", 10) == "more than 10 documents"
