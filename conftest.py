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
    # What the person has set for real servers must not reach the tests, but for TEST_COUCHDB_URL and TEST_POSTGRES_URL.
    del os.environ[_name]
os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"


def pytest_collection_modifyitems(items):
    """Spreads the files that start a whole Airflow among those with servers, and leaves the quick ones for the end.

    Two Airflows at once are too much for two cores, and quick files let all workers end at about the same time.
    """
    by_file = {}
    for item in items:
        by_file.setdefault(item.path, []).append(item)
    heavy = [path for path in by_file if "e2e" in path.parts]
    quick = [path for path in by_file if "unit" in path.parts]
    order = [path for path in by_file if path not in heavy and path not in quick]
    apart = max(1, len(order) // max(1, len(heavy)))
    for number, path in enumerate(heavy):
        order.insert(number * (apart + 1), path)
    items[:] = [item for path in [*order, *quick] for item in by_file[path]]
