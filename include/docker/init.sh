#!/usr/bin/env bash
# Runs once before the scheduler starts: init.sh local | remote
set -euo pipefail

if [[ "${1:-}" != local ]]; then
    python /opt/cht/include/docker/refuse_defaults.py
fi
airflow db migrate
# A project that cannot be fetched must not keep the copy from running: models go on with the one that is installed.
python -m cht_sync pipeline || echo "The dbt project could not be installed; models run with the one that is, if any." >&2
# For whoever reads this log; the tasks say the same when they fail.
echo "The triggerer starts after this; check says of it what is the case now."
python -m cht_sync check || true
