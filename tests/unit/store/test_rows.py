from __future__ import annotations

import json
import struct
from datetime import datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.couchdb.structs import Change, Revision
from cht_sync.store.rows import PIECE, CopyStream, rows_of, stamped, stub_of

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([PIECE - 20, PIECE - 11, PIECE, PIECE + 1, 3 * PIECE]))


def _pieces(rows, *before):
    stream = CopyStream(rows, *before)
    return list(iter(lambda: stream.read(8192), b""))


def _fields(data):
    """What Postgres would read: https://www.postgresql.org/docs/current/sql-copy.html, binary format."""
    assert data.startswith(b"PGCOPY\n\xff\r\n\0" + bytes(8))
    position, found = 19, []
    while (fields := struct.unpack_from(">h", data, position)[0]) != -1:
        position += 2
        values = []
        for _ in range(fields):
            (size,) = struct.unpack_from(">i", data, position)
            values.append(data[position + 4 : position + 4 + size])
            position += 4 + size
        found.append(values)
    assert position + 2 == len(data)
    return found


def _stored(data):
    return [(name.decode(), flag == b"\1", doc[1:]) for name, flag, doc in _fields(data)]


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=8))
def test_a_stream_holds_every_row_whatever_their_sizes(documents):
    changes = [
        Change(id=f"d{number}", deleted=deleted, doc=msgspec.Raw(b'{"x":"%s"}' % (b"y" * size)))
        for number, (size, deleted) in enumerate(documents)
    ]
    rows, refused = rows_of(changes, tombstone_bodies=True)
    assert not refused
    pieces = _pieces(rows)
    assert _stored(b"".join(pieces)) == [(each.id, each.deleted, bytes(each.doc)) for each in changes]
    assert max(map(len, pieces)) <= 2 * PIECE + 100


ANY_ID = st.text(st.characters(exclude_categories=[]))


@given(ANY_ID, st.sampled_from([b'{"name":"Amina"}', b"not json", b"[1]", b"", b"null"]))
def test_of_a_deleted_document_nothing_is_left_but_that_it_is_deleted(name, body):
    change = Change(id=name, changes=[Revision("2-x")], deleted=True, doc=msgspec.Raw(body))
    rows, refused = rows_of([change])
    assert len(rows) + len(refused) == 1
    left = [bytes(each.body) for each in rows] or [stub_of(each.change) for each in refused]
    assert json.loads(left[0]) == {"_id": name, "_rev": "2-x", "_deleted": True}
    assert bool(refused) is any(each == "\0" or "\ud800" <= each <= "\udfff" for each in name)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_row_of_the_table_itself_begins_with_stamp_and_source(stamp, source):
    rows, _ = rows_of([Change(id="a", doc=msgspec.Raw(b"{}")), Change(id="b", doc=msgspec.Raw(b"{}"))])
    found = _fields(b"".join(_pieces(rows, stamped(stamp, source))))
    assert [name for _, _, name, _, _ in found] == [b"a", b"b"]
    for first, second, *_ in found:
        (microseconds,) = struct.unpack(">q", first)
        assert datetime(2000, 1, 1) + timedelta(microseconds=microseconds) == stamp
        assert second.decode() == source
