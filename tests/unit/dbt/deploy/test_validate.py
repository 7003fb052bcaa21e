import logging

import pytest

from cht_sync.dbt.deploy.validate import _failures


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("test", "Test one is not validated: v1.contact does not exist yet."),
        ("model", "Model one is not validated: v1.contact does not exist yet."),
    ],
)
def test_what_is_not_validated_is_named_by_its_kind(kind, said, caplog):
    caplog.set_level(logging.WARNING)
    message = 'relation "v1.contact" does not exist'
    one = {"kind": kind, "name": "one", "path": "one.sql", "status": "error", "message": message}
    assert list(_failures([one], {"contact"})) == []
    assert [record.getMessage() for record in caplog.records] == [said]
