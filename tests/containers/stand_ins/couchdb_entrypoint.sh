#!/usr/bin/env bash
# Starts pouchdb-server with the administrator of the official image's variables.
set -euo pipefail
if [[ "$(id -u)" = 0 ]]; then
    chown couchdb /opt/couchdb/data
    exec setpriv --reuid couchdb --regid couchdb --init-groups "$0" "$@"
fi
# Anew at each start: the server replaces the password in it by a hash.
cat > /tmp/config.json <<JSON
{"httpd": {"bind_address": "0.0.0.0", "port": 5984}, "couchdb": {"database_dir": "/opt/couchdb/data"},
 "log": {"file": "/tmp/couchdb.log", "level": "warning"}, "admins": {"$COUCHDB_USER": "$COUCHDB_PASSWORD"}}
JSON
exec node --unhandled-rejections=warn --no-deprecation --require /opt/couchdb/up.js \
    /opt/couchdb/node_modules/pouchdb-server/bin/pouchdb-server --config /tmp/config.json --no-stdout-logs
