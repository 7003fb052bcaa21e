"""Connections, sessions and locks of Postgres. It knows nothing of documents."""
