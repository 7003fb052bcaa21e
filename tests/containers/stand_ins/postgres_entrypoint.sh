#!/usr/bin/env bash
# As that of the official image: the first start makes a cluster, its superuser and a database.
set -euo pipefail
if [[ "$(id -u)" = 0 ]]; then
    chown postgres "$PGDATA"
    # What may be read by root's group alone, such as the file of the password.
    if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
        POSTGRES_PASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"
        export POSTGRES_PASSWORD
    fi
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    chmod 0700 "$PGDATA"
    initdb --username "$POSTGRES_USER" --auth-local trust --auth-host scram-sha-256 --encoding UTF8 \
        --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD")
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl start --wait --options "-c listen_addresses=''"
    createdb --username "$POSTGRES_USER" --maintenance-db template1 "$POSTGRES_DB"
    pg_ctl stop --wait --mode fast
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses="*"
