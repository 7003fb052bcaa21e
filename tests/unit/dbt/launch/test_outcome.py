import pytest

from cht_sync.dbt.launch.own_process import ProcessEndedError


@pytest.mark.parametrize(
    ("code", "said", "memory"),
    [
        (-9, "dbt was ended from outside (exit code -9) by SIGKILL", True),
        (-15, "dbt was ended from outside (exit code -15) by SIGTERM", False),
        (1, "dbt ended by itself (exit code 1, its last words: TypeError: no)", False),
    ],
)
def test_memory_is_named_only_where_it_may_have_been_that(code, said, memory):
    told = str(ProcessEndedError(code, "TypeError: no"))
    assert told.startswith(said)
    assert ("memory" in told) is memory
