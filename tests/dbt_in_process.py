"""dbt in the process of the tests.

With Airflow loaded beside it, more than half of a run of dbt goes into walking the stack through all modules, for each
flag of an adapter, to name who set it. Nobody reads that name here.
"""

from typing import Any

from dbt import cli, deprecations
from dbt.cli.main import dbtRunnerResult
from dbt_common.behavior_flags import BehaviorFlagRendered

BehaviorFlagRendered._default_source = staticmethod(lambda: "tests")


class dbtRunner(cli.main.dbtRunner):
    """Begins without the deprecations that another test's run has met: dbt counts them by process."""

    def invoke(self, args: list[str], **kwargs: Any) -> dbtRunnerResult:
        deprecations.reset_deprecations()
        return super().invoke(args, **kwargs)
