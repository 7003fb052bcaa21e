"""The lines that say whether a copy is complete."""

import pytest

from cht_sync.reconcile.difference import MISSING, STALE, Difference, Found
from cht_sync.reconcile.report import HEADINGS, Line, table


def found(repaired=0, doubtful=0, differences=0):
    result = Found(repaired=repaired)
    result.count(Difference(f"d{n}", (MISSING, STALE)[n % 2], "2-a", None) for n in range(differences))
    if doubtful:
        result.doubt(doubtful, "why")
        result.doubt(doubtful, "why")
    return result


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        ({}, "equal"),
        ({"differences": 3}, "differs"),
        ({"differences": 3, "repaired": 2}, "differs"),
        ({"differences": 3, "repaired": 3}, "repaired"),
        ({"differences": 3, "repaired": 3, "doubtful": 1}, "in doubt"),
        ({"doubtful": 1}, "in doubt"),
    ],
)
def test_a_verdict_says_what_is_left(what, verdict):
    assert found(**what).verdict == verdict


def test_a_doubt_is_told_once():
    doubtful = found(doubtful=2)
    assert (doubtful.doubtful, doubtful.reasons) == (4, ["why"])


def test_columns_stand_below_one_another():
    lines = [
        Line("couch.org/medic", 1_234_567, 1_234_567, 0, 3, 0, 0, "equal"),
        Line("couch.org/gone", None, 5, 0, 0, 0, 0, "in doubt", ("It is gone.",), equal=False),
    ]
    text = table(lines).splitlines()
    assert text[0].split("  ")[0] == HEADINGS[0]
    assert text[1].split() == ["couch.org/medic", "1,234,567", "1,234,567", "0", "3", "0", "0", "equal"]
    assert text[2].split()[1] == "?"
    assert {len(line.rsplit("  ", 1)[0]) for line in text[1:3]} == {text[0].index("verdict") - 2}
    assert text[3] == "couch.org/gone: It is gone."
