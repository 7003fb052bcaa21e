#!/usr/bin/env bash
# As that of the official image: deletes old logs, four times an hour.
set -euo pipefail
trap "exit" INT TERM
while true; do
    find "${AIRFLOW_HOME}/logs" -type f -mtime +"${AIRFLOW__LOG_RETENTION_DAYS}" -delete
    sleep 900
done
