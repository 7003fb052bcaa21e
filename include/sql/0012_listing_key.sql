-- An _id that an index of Postgres just holds alone is too long for one beside a number: a proof of it came to an end.
-- What is in it belongs to proofs under way; without it they ask for each document.
drop table if exists {schema}.couchdb_listing;
create unlogged table {schema}.couchdb_listing (
    proof bigint not null,
    key bytea not null,
    primary key (proof, key)
);
comment on table {schema}.couchdb_listing is
    'SHA-256 of the ids that CouchDB listed for a full proof under way; what Postgres holds beside them is looked for at its end.';
