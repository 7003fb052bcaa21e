"""Connections, sessions, locks and migrations of Postgres. It knows nothing of documents."""
