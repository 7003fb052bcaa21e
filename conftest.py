"""Airflow reads its home when it is imported: the tests get one of their own, before anything imports it."""

import atexit
import os
import shutil
import tempfile

from include.demo.servers import foreign

_home = tempfile.mkdtemp(prefix="cht-sync-tests-", dir="/var/tmp" if os.path.isdir("/var/tmp") else None)
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.chmod(_home, 0o755)  # Postgres runs as another user, in a folder below

os.environ.update(
    AIRFLOW_HOME=_home,
    AIRFLOW__CORE__LOAD_EXAMPLES="false",
    AIRFLOW__CORE__UNIT_TEST_MODE="false",
    AIRFLOW__CORE__DAGS_FOLDER=os.path.join(os.path.dirname(__file__), "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=os.path.join(os.path.dirname(__file__), "plugins"),
    DO_NOT_TRACK="1",
)
for _name in set(os.environ) - set(foreign(os.environ)):
    # What the person has set for real servers must not reach the tests.
    del os.environ[_name]
os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
