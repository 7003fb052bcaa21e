"""A run and ``roles.sql``, which has to stand alone, look at the same parts of a table for code of other roles."""

import re

from cht_sync.postgres import ownership
from cht_sync.settings.settings import REPOSITORY

ROLES = REPOSITORY / "include" / "roles" / "roles.sql"


def parts(text):
    """The catalogues of the parts, how each hangs on its table, and the kinds of what they use."""
    text = re.sub(r"\b(?:r|ours)\.oid\b", "TABLE", text)
    of = re.findall(
        r"'(pg_\w+)'::regclass, (?:\w\.)?(\w+)(?:, \w+)? from (\w+)(?: \w)? join \w+(?: r)? on TABLE = (\w+)", text
    )
    return set(of), set(re.findall(r"refclassid = '(pg_\w+)'::regclass and \w\.oid = d\.refobjid", text))


def test_both_look_at_the_same():
    run, roles = parts(ownership._STRANGE), parts(ROLES.read_text("utf-8"))
    assert run == roles
    assert (len(run[0]), len(run[1])) == (6, 3)
