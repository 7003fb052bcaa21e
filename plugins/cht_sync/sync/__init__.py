"""One run of the copy: where CouchDB and Postgres meet."""
