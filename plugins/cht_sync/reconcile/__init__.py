"""Proves that Postgres holds what CouchDB holds, and repairs what it does not."""
