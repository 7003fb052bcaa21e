"""Loads Cosmos and this project's own code once, in the scheduler, and dbt in a process beside it.

LocalExecutor's tasks are forks of the scheduler: what it has loaded they need not load again, several seconds in each
of a dozen tasks. dbt runs in forks of a process that knows none of Airflow's variables, since a dbt project reads those
of its process. Restart the scheduler after an upgrade of any of them.
Airflow imports this module where it finds it on its path, such as in ``$AIRFLOW_HOME/config``.
Source: https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html
"""

import os
import sys
from importlib.util import find_spec

os.environ.setdefault("DO_NOT_TRACK", "1")

if {"scheduler", "standalone"} & set(sys.argv):
    import airflow.api_fastapi.auth.managers.models.resource_details
    import airflow.callbacks.callback_requests
    import airflow.io.path
    import airflow.providers.common.io.assets.file
    import airflow.providers.postgres.assets.postgres
    import airflow.providers.postgres.hooks.postgres
    import airflow.providers.standard.decorators.short_circuit
    import airflow.timetables.trigger
    import cosmos.airflow.task_group
    import cosmos.operators.local
    import cosmos.operators.watcher
    import cosmos.plugin.airflow3
    import cosmos.profiles
    import dbt.version
    import fastapi
    import google.protobuf.json_format
    import msgspec
    import psycopg2.sql
    import requests
    import upath.implementations.local

    if find_spec("cht_sync"):
        import cht_sync.dbt.render.models_group
        import cht_sync.operators.couchdb_to_postgres
        import cht_sync.tasks.sync

        if "scheduler" in sys.argv:
            from cht_sync.dbt.launch.warm_dbt import keep_warm

            keep_warm()
