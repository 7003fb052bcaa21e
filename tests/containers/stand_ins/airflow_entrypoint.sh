#!/usr/bin/env bash
# As that of the official image: a program, or what Airflow's command line shall do.
set -euo pipefail
case "${1:-}" in
    bash | python | airflow) exec "$@" ;;
esac
exec airflow "$@"
