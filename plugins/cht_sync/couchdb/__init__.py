"""Reads CouchDB: sessions, requests, the changes feed and documents. It knows nothing of Postgres."""
