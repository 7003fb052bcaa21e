from __future__ import annotations

import struct

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.page import Change
from cht_sync.rows import PIECE, CopyStream, rows_of

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([PIECE - 20, PIECE - 11, PIECE, PIECE + 1, 3 * PIECE]))


def _pieces(rows):
    stream = CopyStream(rows)
    return list(iter(lambda: stream.read(8192), b""))


def _stored(data):
    """What Postgres would read: https://www.postgresql.org/docs/current/sql-copy.html, binary format."""
    assert data.startswith(b"PGCOPY\n\xff\r\n\0" + bytes(8))
    position, found = 19, []
    while (fields := struct.unpack_from(">h", data, position)[0]) != -1:
        assert fields == 3
        position += 2
        values = []
        for _ in range(fields):
            (size,) = struct.unpack_from(">i", data, position)
            values.append(data[position + 4 : position + 4 + size])
            position += 4 + size
        found.append((values[0].decode(), values[1] == b"\1", values[2][1:]))
    assert position + 2 == len(data)
    return found


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=8))
def test_a_stream_holds_every_row_whatever_their_sizes(documents):
    changes = [
        Change(id=f"d{number}", deleted=deleted, doc=msgspec.Raw(b'{"x":"%s"}' % (b"y" * size)))
        for number, (size, deleted) in enumerate(documents)
    ]
    rows, refused = rows_of(changes)
    assert not refused
    pieces = _pieces(rows)
    assert _stored(b"".join(pieces)) == [(each.id, each.deleted, bytes(each.doc)) for each in changes]
    assert max(map(len, pieces)) <= 2 * PIECE + 100
