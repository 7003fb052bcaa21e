import pytest

from cht_sync.health.words import counted, duration, without_values


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ('invalid input syntax for type integer: "Amina"', "invalid input syntax for type integer: …"),
        ('date/time field value out of range: "a ""b"" c" (documents at fault: d1)',
         "date/time field value out of range: … (documents at fault: d1)"),
        ('invalid input value for enum sex: "x: ""y"""', "invalid input value for enum sex: …"),
        ('column "name" does not exist', 'column "name" does not exist'),
        ('null value in column "uuid" of relation "contact" violates not-null constraint',
         'null value in column "uuid" of relation "contact" violates not-null constraint'),
    ],
)  # fmt: skip
def test_values_are_taken_out_of_messages(message, shown):
    assert without_values(message) == shown


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
