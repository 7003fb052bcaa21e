"""Loads dbt and Cosmos once, in the scheduler.

LocalExecutor's tasks are forks of the scheduler: what it has loaded they need not load again, several seconds in each
of a dozen tasks. Airflow imports this module where it finds it on its path, such as in ``$AIRFLOW_HOME/config``.
Source: https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html
"""

import os
import sys

os.environ.setdefault("DO_NOT_TRACK", "1")

if {"scheduler", "standalone"} & set(sys.argv):
    import airflow.io.path
    import airflow.providers.postgres.hooks.postgres
    import cosmos.airflow.task_group
    import cosmos.operators.local
    import cosmos.operators.watcher
    import cosmos.profiles
    import dbt.adapters.postgres
    import dbt.cli.main
    import dbt.task.build
    import dbt.task.run
    import google.protobuf.json_format
    import psycopg2
