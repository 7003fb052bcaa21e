"""The model of a cluster delivers what a real one does."""

from __future__ import annotations

import json

from tests.integration.machine.replicas import ReplicatedDatabase


def test_a_document_that_falls_back_to_an_earlier_revision_comes_again():
    database = ReplicatedDatabase("replicated", 0)
    database.put("a", "1-a", b'{"_id":"a","_rev":"1-a"}')
    database.branch("a", "2-b", b'{"_id":"a","_rev":"2-b"}')
    database.alone = 0
    read = json.loads(database.changes("0", 10, 1, bodies=False))["last_seq"]
    database.put("a", "3-c", b'{"_id":"a","_rev":"3-c","_deleted":true}', deleted=True)
    for database.alone in (0, 1, 2):
        rows = json.loads(database.changes(read, 10, 1, bodies=False))["results"]
        assert [row["changes"] for row in rows] == [[{"rev": "1-a"}]]


def test_a_copy_tells_what_the_one_that_was_read_had_not_even_where_the_revision_was_told_before():
    database = ReplicatedDatabase("replicated", 0)
    database.put("a", "1-a", b'{"_id":"a","_rev":"1-a"}')
    database.branch("a", "2-b", b'{"_id":"a","_rev":"2-b"}')
    database.fall_behind(0)
    database.put("a", "3-c", b'{"_id":"a","_rev":"3-c","_deleted":true}', deleted=True)
    database.alone = 0
    read = json.loads(database.changes("0", 10, 1, bodies=False))["last_seq"]
    database.alone = 1
    rows = json.loads(database.changes(read, 10, 1, bodies=False))["results"]
    assert [row["changes"] for row in rows] == [[{"rev": "1-a"}]]
