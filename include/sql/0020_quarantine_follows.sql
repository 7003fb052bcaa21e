-- The parts of a body follow their entry when its source gets another name.
alter table {schema}.couchdb_quarantine_part drop constraint if exists couchdb_quarantine_part_source_key_fkey;
alter table {schema}.couchdb_quarantine_part add constraint couchdb_quarantine_part_source_key_fkey
    foreign key (source, key) references {schema}.couchdb_quarantine (source, key) on delete cascade on update cascade;
