import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.couchdb.decode import _row_by_row, decode_page
from cht_sync.errors import BrokenAnswerError
from cht_sync.store.rows import rows_of
from tests.unit.couchdb.test_structs import recorded

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
documents = st.dictionaries(st.text(), values, max_size=5)
rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(st.characters(codec="utf-8")), "changes": st.just([{"rev": "1-x"}])},
        optional={"doc": documents, "deleted": st.booleans(), "seq": st.none() | st.integers(), "error": st.text()},
    ),
    min_size=1,
    max_size=6,
)
UNREADABLE = ['{"a":"\\ud800"}', '{"a":' + "[" * 3000 + "]" * 3000 + "}", '{"a":NaN}', '{"a":"\\q"}', '{"a":"\x01"}']


def page(rows, separators, ascii_only=True):
    body = json.dumps(
        {"results": rows, "last_seq": "5-x", "pending": 3}, separators=separators, ensure_ascii=ascii_only
    )
    return body.encode("utf-8", "surrogatepass")


def states(changes):
    return [(each.id, each.rev, each.deleted, bytes(each.doc), bytes(each.error)) for each in changes]


@given(rows, st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " : ")]))
def test_row_by_row_is_the_same_page(rows, separators):
    body = page(rows, separators)
    if re.search(rb"\\ud[89a-f]", body):
        return  # no strict reader takes it
    assert states(_row_by_row(body).results) == states(decode_page(body).results)


@pytest.mark.parametrize("odd", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("place", [0, 3, 6])
def test_one_odd_document_does_not_spoil_its_page(odd, place):
    bodies = [f'{{"_id":"d{n}","t":"]}}{{,\\"\\\\"}}' for n in range(6)]
    bodies.insert(place, odd)
    rows = [f'{{"id":"i{n}","changes":[{{"rev":"1-x"}}],"doc":{body}}}' for n, body in enumerate(bodies)]
    found = decode_page(('{"results":[\n' + ",\r\n".join(rows) + '\n],\n"last_seq":"9","pending":0}').encode())
    assert [change.id for change in found.results] == [f"i{n}" for n in range(7)]
    assert [bytes(change.doc).decode() for change in found.results] == bodies
    assert (found.checkpoint, found.is_last) == ("9", True)


@given(rows, st.data())
def test_a_cut_page_is_never_one(rows, data):
    body = page(rows, (",", ":"))
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(BrokenAnswerError):
        decode_page(body[:cut])


def stored(change):
    return change.id, change.deleted, bytes(change.doc)


WHOLE = page(
    [{"id": f"d{n}", "changes": [{"rev": "1-x"}], "doc": {"_id": f"d{n}", "n": [n]}} for n in range(3)], (",", ":")
)
# Every other time in the last fields, which are what moves the checkpoint.
places = st.integers(0, len(WHOLE) - 1) | st.integers(WHOLE.rindex(b"]"), len(WHOLE) - 1)


@given(places, st.integers(0, 4), st.binary(min_size=1, max_size=4))
def test_noise_in_a_page_raises_nothing_but_the_feeds_error(place, cut, noise):
    """Nor does what is made of such a page: its checkpoint, and rows that Postgres then judges."""
    try:
        found = decode_page(WHOLE[:place] + noise + WHOLE[place + cut :])
    except BrokenAnswerError:
        return
    assert found.checkpoint.encode()
    stored, refused = rows_of(found.results)
    assert len(stored) + len(refused) <= len(found.results)


@given(rows, st.data())
def test_damage_is_refused_or_stays_in_its_row(rows, data):
    """A byte that changed on the way never makes a row vanish, nor one swallow another."""
    rows = [{**row, "id": f"id{number}"} for number, row in enumerate(rows)]
    body = bytearray(page(rows, (",", ":")))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    try:
        found = decode_page(bytes(body))
    except BrokenAnswerError:
        return
    assert len(found.results) == len(rows)
    clean = decode_page(page(rows, (",", ":"))).results if not has_surrogates(rows) else None
    if clean is not None:
        differ = [new for new, old in zip(found.results, clean, strict=True) if stored(new) != stored(old)]
        assert len(differ) <= 1


def has_surrogates(rows):
    return re.search(rb"\\ud[89a-f]", page(rows, (",", ":"))) is not None


@given(st.binary(max_size=300))
def test_noise_is_no_page(noise):
    with pytest.raises(BrokenAnswerError):
        decode_page(noise)


FRAGMENTS = [
    b'{"results":[',
    b'{"id":"a","doc":{}}',
    b'{"id":"a"',
    b',"doc":',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b'"',
    b"\\",
    b"1",
]
FRAGMENTS += [b'],"last_seq":"1","pending":0}', b'"last_seq":', b"null", b'"\\ud800"', b'"id":', b"\x00", b"\xff", b" "]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_fragments_are_refused_or_a_page(parts):
    body = b"".join(parts)
    try:
        found = decode_page(body)
    except BrokenAnswerError:
        return
    assert body.startswith(b'{"results":[')
    assert b'"last_seq":' in body
    assert len(found.results) <= body.count(b'"id":')


def test_stray_quotes_cannot_hide_a_row():
    rows = [b'{"id":"a","doc":{"t":"x"y"}}', b'{"id":"b","doc":{"t":"z"}}', b'{"id":"c","doc":{"t":"x"y"}}']
    with pytest.raises(BrokenAnswerError, match="no complete page"):
        decode_page(b'{"results":[' + b",".join(rows) + b'],"last_seq":"1","pending":0}')


@pytest.mark.parametrize(
    "row",
    [
        b'{"id":"a" "b","doc":"\\ud800"}',
        b'{"id":"a","doc":"\\ud800"},',
        b'{"id":"a",,"doc":"\\ud800"}',
        b'{"id":"a":"doc":"\\ud800"}',
        b'{"id":"a","doc":["\\ud800"}}',
        b'{"id":"a","doc":["\\ud800",]}',
        b'{"id":"a","doc":{"\\ud800"}}',
        b'{"id":7,"doc":"\\ud800"}',
        b'{"doc":"\\ud800"}',
        b'{"id":"a","deleted":1,"doc":"\\ud800"}',
        b'["id","\\ud800"]',
        b'{"id":"a","doc":"\\ud800"}x',
        b'{"id":"a","doc":{,"a":"\\ud800"}}',
    ],
)
def test_a_row_out_of_shape_is_no_row(row):
    with pytest.raises(BrokenAnswerError):
        decode_page(b'{"results":[' + row + b'],"last_seq":"1","pending":0}')


def test_a_recorded_page_with_one_odd_row():
    body = recorded("changes_include_docs").replace(b'"literal":"', b'"literal":"\\udc00')
    assert b"\\udc00" in body
    whole = decode_page(recorded("changes_include_docs"))
    assert [each.id for each in decode_page(body).results] == [each.id for each in whole.results]


NO_SEQS = [
    b"null",
    b"{}",
    b'{"error":"x"}',
    b'""',
    b"true",
    b'"a\\u0000"',
    b'"5-\xff"',
    b'"\xed\xa0\x80"',
    b'[5,"\xff"]',
]


@pytest.mark.parametrize("seq", NO_SEQS)
@pytest.mark.parametrize("row", [b"", b'{"id":"a","doc":{}}', rb'{"id":"a","doc":"\ud800"}'])
def test_what_is_no_seq_is_no_checkpoint(seq, row):
    with pytest.raises(BrokenAnswerError):
        decode_page(b'{"results":[' + row + b'],"last_seq":' + seq + b',"pending":0}')


def test_an_odd_tombstone_in_a_buffer():
    row = rb'{"id":"a","changes":[{"rev":"1-a"}],"deleted":true,"doc":{"_id":"a","x":"\ud800"}}'
    (change,) = decode_page(bytearray(b'{"results":[' + row + b'],"last_seq":"1","pending":0}')).results
    assert (change.id, change.deleted) == ("a", True)
