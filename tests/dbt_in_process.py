"""dbt in the process of the tests.

With Airflow loaded beside it, more than half of a run of dbt goes into walking the stack through all modules, for each
flag of an adapter, to name who set it. Nobody reads that name here.
"""

from dbt.cli.main import dbtRunner
from dbt_common.behavior_flags import BehaviorFlagRendered

BehaviorFlagRendered._default_source = staticmethod(lambda: "tests")

__all__ = ["dbtRunner"]
