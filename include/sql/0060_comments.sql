-- What the tables hold, in the words of the status page and the documentation.
comment on column {schema}.couchdb_first_load.instance_start_time is
    'When CouchDB made the database, where it says so: if that changes, the load begins again.';
comment on column {schema}.couchdb_first_load.proven_at is
    'When the full comparison after it ended; the same in all parts.';
comment on table {schema}.couchdb_incident is
    'One row for each incident: when it began and ended, and when messages about both were sent.';
comment on column {schema}.couchdb_incident.text is 'What messages say; never content or ids of documents.';
comment on column {schema}.couchdb_incident.newest is
    'When the newest of what it is made of came, such as documents in quarantine; those of later days are sent again.';
comment on table {schema}.couchdb_listing is
    'The ids that CouchDB listed for a full comparison that runs, a row for some thousand: rows missing in CouchDB are looked for at its end.';
comment on column {schema}.couchdb_listing.hashes is
    'hashtextextended of each _id, with the number of the comparison as seed.';
comment on column {schema}.couchdb_progress.drained_at is
    'When all changes were last read; null while they were not since the feed was read from its beginning.';
comment on column {schema}.couchdb_progress.doubt is
    'Why the copy may be incomplete: the next cht_reconcile compares all documents, and clears it.';
comment on table {schema}.couchdb_reconciliation is
    'Result for each source and part of a reconciliation: equal, repaired, differs (not repaired), in doubt (inconclusive) or skipped.';
