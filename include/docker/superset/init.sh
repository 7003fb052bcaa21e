#!/usr/bin/env bash
# Runs once before Superset starts: its own tables, and its administrator.
set -euo pipefail

secrets="${SUPERSET_SECRETS:-/run/secrets}"
password="$(cat "$secrets/superset_password")"
case "${password,,}" in
    "" | admin | password | superset | secret | "${SUPERSET_USER,,}")
        echo "The file superset_password is empty or holds a published default: write another password into it." >&2
        exit 1
        ;;
esac
superset db upgrade
# By the environment of one process: arguments of processes can be read by others.
NEW_PASSWORD="$password" python - <<'PYTHON'
import os

from superset.app import create_app

with create_app().app_context():
    from superset import security_manager

    security_manager.sync_role_definitions()
    user, password = os.environ["SUPERSET_USER"], os.environ["NEW_PASSWORD"]
    if found := security_manager.find_user(user):
        security_manager.reset_password(found.id, password)
    else:
        role = security_manager.find_role("Admin")
        if not security_manager.add_user(user, "CHT", "Sync", f"{user}@localhost", role, password=password):
            raise SystemExit(f"The user {user!r} could not be made: see what is written above.")
PYTHON
superset init
