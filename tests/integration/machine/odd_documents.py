"""Ids and contents that are hard on their way from JSON to ``jsonb``, as JSON texts."""

from __future__ import annotations

import json
import random

from hypothesis import strategies as st

from tests.servers import given

# CouchDB itself refuses what other servers take, and hand out: lone surrogates, numbers that no double holds.
_REFUSES = given("couchdb") is not None
# Not compressible, so that an index of Postgres cannot hold it; made once, since every text of it is as good.
_INCOMPRESSIBLE = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=3000))

PLAIN_IDS = ["a", "b", "c", "d", "e", "f", "id", "org.couchdb.user:a", "org.couchdb.user:b", "settings"]
ODD_IDS = [
    "i\0d",  # "id" without U+0000
    "\0",
    "a\0",
    "l\ud800",
    "😀",
    "\U00010000é",
    "مرحبا بالعالم",
    "A\u0308",
    "\\u0000",
    "\\",
    '"',
    "x'; drop table v1.couchdb; --",
    "%s {} %00 +?#&/",
    "\\N",
    "\t\n\x1f\x7f\u2028",
    "_design/d",
    "l" * 3000,
    "é" * 1300,
    _INCOMPRESSIBLE,
    _INCOMPRESSIBLE[:2500],
    "org.couchdb.user:a\0",
]
# No U+FFFD, U+00FF and U+FFFF, which LevelDB's keys use or put in place of others.
_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd\xff\uffff")
_drawn_text = st.text(_characters, max_size=8)
# CouchDB keeps names with an underscore in front for itself, and takes no empty id.
_drawn_names = _drawn_text.map(lambda text: f"x{text}" if text[:1] in {"", "_"} else text)

_ODD_TEXTS = [
    r'"\u0000"',
    r'"x\u0000y\u0000"',
    r'"\\u0000"',
    r'"\\\u0000"',
    r'"\\\\u0000"',
    r'"\u0000u0000"',
    r'"\ud83d\ude00"',
    '"😀 \U0010ffff"',
    r'"\u00e9\u0065\u0301\/"',
    '"\u202eabc \u0645"',
    r'"\"\\\b\f\n\r\t\u001f"',
    '"\u2028\u2029\x7f"',
    '"\'; drop table v1.couchdb; --"',
    r'"{} %s %(x)s $1 \\N \\."',
    '"user"',
    '""',
]
_NUMBERS = [
    "0", "-0", "-0.0", "1.0", "1.10", "100", "1e2", "1E+2", "9007199254740993", "12345678901234567890123456789",
    "0.1", "1e-7", "5e-324", "1.7976931348623157e308", "0.30000000000000004", "-1.5e300", "1e21", "123456789.123456789",
]  # fmt: skip
# What pouchdb-server reads but does not keep as it is, for its numbers are doubles and its texts UTF-16.
_HARD_NUMBERS = ["1e400", "-1e400", "1e-400"]
_SURROGATES = [r'"\ud800"', r'"\udc00\ud800"', r'"x\udfff"']
_CONSTANTS = ["true", "false", "null", "[]", "{}"]

# Beyond what pouchdb-server keeps: a cluster of CouchDB hands these out as they were stored.
_UNKEPT = [
    "1" + "0" * 400, "3.14159265358979323846264338327950288", "1e131071", "1e131072", "1e-16383", "1e-16384",
    "1e1000000", "-1e99999999999999999999", "0e5", "1.000", '"INVALID"', "[" * 1500 + "]" * 1500,
]  # fmt: skip

_KEYS = ['"k"', '"K"', '"k\\u0000"', '"\\u0000k"', '""', '"\\u0000"', '"\\u0000_id"', '"type"', '"t\\u0000ype"']
_KEYS += ['"password"', '"password_scheme"', '"pass\\u0000word"', '"derived_key"', '"salt"', '"😀"', '"\\\\u0000"']
_KEYS += ['"iterations"', '"pbkdf2_prf"', '"passwords"', '"Password"', '"ключ"', '"toString"', '"a.b"', '"\\"\'"']


def as_json(text: str) -> str:
    """A text as JSON; what is no character alone stays an escape."""
    return json.dumps(text)


def _containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(values, max_size=3).map(lambda items: f"[{','.join(items)}]")
    members = st.lists(st.tuples(st.sampled_from(_KEYS), values), max_size=3, unique_by=lambda each: each[0])
    return lists | members.map(lambda items: f"{{{','.join(f'{key}: {value}' for key, value in items)}}}")


_drawn_json = st.one_of(_drawn_text.map(json.dumps), _drawn_text.map(lambda text: json.dumps(text, ensure_ascii=False)))
_common = st.sampled_from(_ODD_TEXTS + _NUMBERS + _CONSTANTS)
_hard = st.sampled_from(["1e-400"] if _REFUSES else _HARD_NUMBERS + _SURROGATES)
_kept_leaves = st.one_of(_common, _common, _hard, _drawn_json)
_all_leaves = st.one_of(_common, _common, st.sampled_from(_HARD_NUMBERS + _SURROGATES + _UNKEPT), _drawn_json)
_kept_keys = st.one_of(st.just('"k"'), st.sampled_from(_KEYS), st.sampled_from(_KEYS), _drawn_names.map(json.dumps))
_all_keys = st.one_of(_kept_keys, st.just(r'"\ud800k"'))


def _fields(keys: st.SearchStrategy[str], leaves: st.SearchStrategy[str], *, twice: bool) -> st.SearchStrategy[str]:
    """Members of an object, each with a comma in front, without those that CouchDB keeps for itself."""
    values = leaves | st.recursive(leaves, _containers, max_leaves=4)
    pairs = st.lists(st.tuples(keys, values), max_size=3, unique_by=None if twice else lambda each: each[0])
    drawn = pairs.map(lambda items: "".join(f",{key}:{value}" for key, value in items))
    user = st.sampled_from(
        [
            ',"type":"user","name":"x","password_scheme":"pbkdf2","derived_key":"d","salt":"s","iterations":10',
            ',"type":"user-settings","password":"kept"',
            ',"password_scheme":"simple","roles":[]',
            ',"type":"us\\u0000er","salt":"\\u0000"',
        ]
    )
    return st.one_of(st.sampled_from(["", ',"n":1']), st.just(',"n":2'), drawn, drawn, user)


IDS = st.one_of(
    # Few, so that the same document meets one thing after another.
    st.sampled_from(PLAIN_IDS[:2]),
    st.sampled_from(PLAIN_IDS[:2]),
    st.sampled_from(PLAIN_IDS),
    st.sampled_from([id for id in ODD_IDS if not (_REFUSES and id == "l\ud800")]),
    _drawn_names,
)
KEPT_FIELDS = _fields(_kept_keys if _REFUSES else _all_keys, _kept_leaves, twice=False)
ALL_FIELDS = _fields(_all_keys, _all_leaves, twice=True)
