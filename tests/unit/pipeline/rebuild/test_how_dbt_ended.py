from types import SimpleNamespace

import pytest

from cht_sync.pipeline.rebuild.dbt_process import DbtProcess
from cht_sync.pipeline.rebuild.errors import RebuildError
from cht_sync.settings import Settings


@pytest.mark.parametrize(
    ("code", "said", "memory"),
    [
        (-9, "dbt was ended from outside (exit code -9) by SIGKILL", True),
        (-15, "dbt was ended from outside (exit code -15) by SIGTERM", False),
        (1, "dbt ended by itself (exit code 1, its last words: TypeError: no) while it was to compare", False),
    ],
)
def test_memory_is_named_only_where_it_may_have_been_that(code, said, memory, tmp_path):
    dbt = DbtProcess(Settings(), tmp_path, "v1__next", 150000)
    dbt._last = "TypeError: no"
    dbt._process = SimpleNamespace(wait=lambda: code)
    dbt._logged = SimpleNamespace(join=lambda _: None)
    dbt._commands = SimpleNamespace(write=lambda _: None, flush=lambda: None)
    dbt._answers = SimpleNamespace(readline=lambda: "")
    with pytest.raises(RebuildError) as raised:
        dbt._ask("modified", "compare the project")
    assert str(raised.value).startswith(said)
    assert ("memory" in str(raised.value)) is memory
