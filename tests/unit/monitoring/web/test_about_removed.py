from datetime import UTC, datetime

from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.health import find
from cht_sync.monitoring.state import Facts, RemovedModel
from cht_sync.monitoring.web.judge import verdict
from cht_sync.monitoring.web.scene import Scene

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_table_of_a_removed_model_is_named_with_what_drops_it():
    facts, limits = Facts(known=True, removed=[RemovedModel(relation="v1.old", since=SINCE)]), Limits()
    (remark,) = verdict(find(facts, SINCE, limits), Scene(facts, SINCE, limits)).remarks
    assert (remark.state, remark.kind, remark.since) == ("warning", "removed", SINCE)
    assert remark.text == "v1.old belongs to no model any more: it stays as it was, and nothing updates it."
    assert 'cht_pipeline_deploy with drop_removed=["v1.old"]' in remark.todo
