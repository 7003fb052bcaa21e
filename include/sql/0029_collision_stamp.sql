-- Stamps go on from the newest one, wherever it is, and models ask for what has come beside the table of documents.
create index if not exists couchdb_collision_saved_timestamp on {schema}.couchdb_collision (saved_timestamp);
