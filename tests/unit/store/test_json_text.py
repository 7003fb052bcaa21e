import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.store.json_text import without_nul, without_password

texts = st.text(st.one_of(st.sampled_from("\0\\u0/\"'n\t"), st.characters(codec="utf-8")), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


def stripped(value):
    """The slow and obvious way: parse, take U+0000 out of each string."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [stripped(each) for each in value]
    if isinstance(value, dict):
        return {stripped(key): stripped(each) for key, each in value.items()}
    return value


@given(values, st.booleans())
def test_only_the_character_goes(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert json.loads(without_nul(text)) == stripped(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"C:\\u0000dir"', rb'"C:\\u0000dir"'),
        (rb'"x\u0000y"', rb'"xy"'),
        (rb'"\\\u0000"', rb'"\\"'),
        (rb'"\\\\u0000"', rb'"\\\\u0000"'),
        (rb'"\u0000\u0000"', rb'""'),
        (rb'{"a\u0000b":"\n\u0000"}', rb'{"ab":"\n"}'),
    ],
)
def test_escapes_are_read_one_by_one(text, expected):
    assert without_nul(text) == expected


def test_password_material_goes_and_the_rest_keeps_its_text():
    body = (
        b'{"_id":"org.couchdb.user:ann","type":"user","password_scheme":"pbkdf2","password_sha":"x","derived_key":"k",'
        b'"salt":"s","iterations":10,"pbkdf2_prf":"sha256","passwordless":1,"big":12345678901234567890123,"roles":[ "chw" ]}'
    )
    left = without_password(body)
    assert left == (b'{"_id":"org.couchdb.user:ann","type":"user","big":12345678901234567890123,"roles":[ "chw" ]}')


def test_a_tombstone_without_a_type_loses_it_too():
    assert b"salt" not in without_password(b'{"_id":"org.couchdb.user:a","_deleted":true,"salt":"s"}')


def test_user_settings_stay_as_they_are():
    body = b'{"_id":"org.couchdb.user:ann","type":"user-settings","salt":"of the earth"}'
    assert without_password(body) == body


@pytest.mark.parametrize("kind", [b"null", b'["user"]', b"7"])
def test_a_type_that_says_nothing_keeps_no_password(kind):
    assert b"salt" not in without_password(b'{"_id":"org.couchdb.user:a","type":' + kind + b',"salt":"s"}')


@pytest.mark.parametrize(
    "fields",
    [
        rb'"type":"us\u0000er","salt":"s3cret"',
        rb'"type":"user","pass\u0000word":"s3cret"',
        rb'"ty\u0000pe":"user","derived\u0000_key":"s3cret"',
        rb'"type":"user-settings","type\u0000":"user","salt":"s3cret"',
    ],
)
def test_no_nul_hides_a_password(fields):
    assert b"s3cret" not in without_password(b'{"_id":"org.couchdb.user:a",' + fields + b"}")


def test_numbers_longer_than_python_reads_hide_no_merged_keys():
    with pytest.raises(ValueError, match="two keys"):
        without_nul(rb'{"a\u0000":1,"a":2,"n":' + b"9" * 5000 + b"}")
