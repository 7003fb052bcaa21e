"""Whether a database was made again, by the recorded answers of a real cluster whose copies are equal and at rest."""

import itertools

import msgspec
import pytest

from cht_sync.couchdb.structs import DatabaseInfo
from cht_sync.store.checkpoints import SourceState
from cht_sync.sync import database_identity
from cht_sync.sync.database_identity import number_of, sign_of_recreation
from tests.unit.couchdb.test_structs import recorded

NAMES = ["database_node1_caught_up", "database_node2_caught_up", "database_node3_caught_up", "database_node3_alone"]
INFOS = [msgspec.json.decode(recorded(f"cluster/{name}"), type=DatabaseInfo) for name in NAMES]
SEQS = [msgspec.json.decode(info.update_seq, type=str) for info in INFOS]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(database_identity, "SECOND_LOOK_S", 0.0)


def test_equal_copies_differ_in_their_numbers():
    assert {number_of(seq) for seq in SEQS} == {400, 1200}
    assert {info.instance_start_time for info in INFOS} == {"1796033871"}
    assert not any(info.has_one_copy for info in INFOS)


@pytest.mark.parametrize(("info", "seq"), itertools.product(INFOS, SEQS))
@pytest.mark.parametrize("known", ["1796033871", None, "0"])
def test_a_number_of_a_cluster_proves_nothing(info, seq, known):
    instance = info.instance_start_time if known == "1796033871" else None
    assert sign_of_recreation(lambda: info, info, instance, SourceState(seq, known)) is None


def test_another_time_does():
    assert "was made at 1796033871" in sign_of_recreation(
        lambda: INFOS[0], INFOS[0], "1796033871", SourceState(SEQS[0], "1796033870")
    )


@pytest.mark.parametrize(("now", "sign"), [("4", True), ("5", False), ("6", False)])
def test_a_plain_number_that_lies_behind_does(now, sign):
    info = msgspec.json.decode(f'{{"db_name":"medic","update_seq":{now}}}'.encode(), type=DatabaseInfo)
    assert bool(sign_of_recreation(lambda: info, info, None, SourceState("5", None))) is sign
