"""Listings, as a real CouchDB answers them."""

import json

import pytest

from cht_sync.couchdb.decode import decode_rows
from tests.unit.couchdb.test_structs import recorded


def test_a_listing_of_a_real_couchdb():
    found = decode_rows(recorded("all_docs_startkey"))
    assert (found[0].id, found[0].rev) == ("c", "1-ffffffffffffffffffffffffffffffff")
    assert not any(each.deleted for each in found)
    assert json.loads(bytes(found[0].doc))["_id"] == "c"


def test_documents_by_id_of_a_real_couchdb():
    found = {each.id: each for each in decode_rows(recorded("all_docs_keys"))}
    assert found["a"].has_document
    assert b'"big":123456789012345678901234567890' in bytes(found["a"].doc)
    deleted = found["d"]
    assert (deleted.deleted, deleted.has_document) == (True, False)
    assert deleted.rev.startswith("2-")


@pytest.mark.parametrize("depth", [1000, 20_000])
def test_documents_nested_deeper_than_a_strict_reader_goes_come_with_their_bytes(depth):
    deep = b'{"_id":"deep","t":"}]","d":%s}' % (b"[" * depth + b"]" * depth)
    rows = [
        b'{"id":"a","key":"a","value":{"rev":"1-a"},"doc":{"_id":"a"}}',
        b'{"id":"deep","key":"deep","value":{"rev":"2-b"},"doc":%s}' % deep,
        b'{"id":"gone","key":"gone","value":{"rev":"3-c","deleted":true},"doc":null}',
        b'{"key":"missing","error":"not_found"}',
    ]
    found = decode_rows(b'{"total_rows":3,"offset":0,"rows":[\r\n%s\r\n]}\n' % b",\r\n".join(rows))
    assert [(each.id, each.rev, each.deleted, each.has_document) for each in found] == [
        ("a", "1-a", False, True),
        ("deep", "2-b", False, True),
        ("gone", "3-c", True, False),
        ("missing", None, False, False),
    ]
    assert bytes(found[1].doc) == deep
    assert bytes(found[3].error) == b'"not_found"'


@pytest.mark.parametrize("id", ["\ud800", "a\udc00", 'q"\\'])
def test_an_id_that_is_no_unicode_is_read_all_the_same(id):
    body = json.dumps({"rows": [{"id": id, "key": id, "value": {"rev": "1-a"}}, {"key": "x", "error": "not_found"}]})
    found = decode_rows(body.encode())
    assert [(each.id, each.rev) for each in found] == [(id, "1-a"), ("x", None)]
    assert bytes(found[1].error) == b'"not_found"'


@pytest.mark.parametrize(
    "body", [b"", b'{"rows":[{"id":"a","key":"a","val', b"[]", b"1", b'{"rows":[1]}', b'{"rows":1}', b"{}"]
)
def test_what_is_no_listing_is_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011
        decode_rows(body)
