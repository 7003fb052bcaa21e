import pytest

from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.errors import StoreError
from cht_sync.settings.settings import Settings


def test_a_server_that_does_not_answer_is_told_in_one_sentence():
    settings = Settings({"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "9"})
    refusal = pytest.raises(StoreError, match=r"127\.0\.0\.1:9/cht_sync .*check POSTGRES_HOST")
    with refusal as refused, schema_lock(settings, "v1", "me"):
        pytest.fail("there is no server")
    assert "\n" not in str(refused.value)
