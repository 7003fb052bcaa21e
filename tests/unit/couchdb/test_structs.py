from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.couchdb.decode import decode_page
from cht_sync.errors import CouchDBError

RECORDED = Path(__file__).parents[2] / "recorded"


def recorded(name):
    return (RECORDED / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2]


def test_documents_stay_the_bytes_that_came():
    page = decode_page(recorded("changes_include_docs"))
    by_id = {change.id: change for change in page.results}
    assert bytes(by_id["b"].doc) == (
        rb'{"_id":"b","_rev":"1-30164b87169f685a4efed7bf42534d5f","nul":"x\u0000y","literal":"C:\\u0000dir"}'
    )
    assert b'"n":1.0e25,"f":1.0,"big":123456789012345678901234567890' in bytes(by_id["a"].doc)
    assert [change.id for change in page.results if change.deleted] == ["d", "g"]
    assert page.is_last
    assert page.checkpoint.startswith("12-g1AAAACb")
    assert page.size == len(recorded("changes_include_docs"))


def test_a_page_in_the_middle_of_the_feed():
    page = decode_page(recorded("changes_page_of_3"))
    assert (len(page.results), page.pending, page.is_last) == (3, 6, False)


def test_only_last_seq_counts_with_seq_interval():
    page = decode_page(recorded("changes_seq_interval"))
    assert b'"seq":null' in recorded("changes_seq_interval")
    assert page.checkpoint.startswith("12-")


@pytest.mark.parametrize("name", ["changes_empty", "changes_after_purge", "changes_old_seq_after_recreation"])
def test_an_empty_page_with_nothing_pending_is_the_last(name):
    page = decode_page(recorded(name))
    assert page.is_last


def test_an_empty_page_with_something_pending_is_not_the_last():
    assert not decode_page(b'{"results":[],"last_seq":"5-x","pending":3}').is_last


def test_a_server_that_does_not_count_ends_with_an_empty_page():
    full = decode_page(b'{"results":[{"seq":7,"id":"a","changes":[{"rev":"1-x"}],"doc":{}}],"last_seq":7}')
    assert (full.checkpoint, full.is_last) == ("7", False)
    assert decode_page(b'{"results":[],"last_seq":7,"pending":null}').is_last


def test_a_seq_that_is_no_text_is_kept_as_it_came():
    assert decode_page(b'{"results":[],"last_seq":[3,"g1AA"]}').checkpoint == '[3,"g1AA"]'


@pytest.mark.parametrize("doc", ["null", ""])
def test_a_row_without_a_document_says_so(doc):
    row = '{"id":"a","changes":[{"rev":"1-x"}]' + (f',"doc":{doc}' if doc else "") + "}"
    (change,) = decode_page(f'{{"results":[{row}],"last_seq":"1"}}'.encode()).results
    assert not change.has_document


def test_no_cut_answer_counts():
    body = recorded("changes_include_docs")
    for end in range(0, len(body.rstrip()) - 1, 7):
        with pytest.raises(CouchDBError, match="no complete page"):
            decode_page(body[:end])


def test_an_error_object_is_no_page():
    with pytest.raises(CouchDBError, match="no complete page"):
        decode_page(b'{"error":"internal_server_error","reason":"boom"}')


@given(st.binary(max_size=200))
def test_noise_is_refused_or_a_page(noise):
    try:
        decode_page(noise)
    except CouchDBError:
        return
    assert b"last_seq" in noise
