from datetime import UTC, datetime

from cht_sync.health.removed import RemovedModel
from cht_sync.web.about_models import about_models

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_table_of_a_removed_model_is_named_with_what_drops_it():
    removed = [RemovedModel(relation="v1.old", since=SINCE)]
    (remark,) = about_models([], [], SINCE, "cht_sync", removed=removed)
    assert (remark.state, remark.kind, remark.since) == ("warning", "removed", SINCE)
    assert remark.text == "v1.old is of no model any more: it stays as it was, and nothing updates it."
    assert 'cht_pipeline_deploy with drop_removed=["v1.old"]' in remark.todo
