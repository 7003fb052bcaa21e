#!/usr/bin/env bash
# Starts the API server when Airflow's database is migrated: api_server.sh api-server [argument...]
set -euo pipefail

airflow db check-migrations --migration-wait-timeout 600
# Airflow marks the cookie of a login by how a request came; the session of the FAB auth manager has a setting of its own.
if [[ "${AIRFLOW__API__BASE_URL:-}" == [Hh][Tt][Tt][Pp][Ss]://* ]]; then
    export AIRFLOW__FAB__COOKIE_SECURE="${AIRFLOW__FAB__COOKIE_SECURE:-True}"
fi
exec /entrypoint airflow "$@"
