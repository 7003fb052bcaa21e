-- What the remaining columns of a first load hold.
comment on column {schema}.couchdb_first_load.source is 'Name of the source: <host>/<database>.';
comment on column {schema}.couchdb_first_load.part is 'Name of the part: range and number, or tombstones.';
comment on column {schema}.couchdb_first_load.end_key is
    'JSON text of the _id that the range ends before; null for the end of all ids.';
comment on column {schema}.couchdb_first_load.done is 'Whether all of the part is stored.';
comment on column {schema}.couchdb_first_load.instance_start_time is
    'When CouchDB made the database, where it says so: of another one the load begins anew.';
comment on column {schema}.couchdb_first_load.started_at is 'When the load was planned; the same in all parts.';
comment on column {schema}.couchdb_first_load.updated_at is 'When a page of the part was stored last.';
