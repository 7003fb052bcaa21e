-- A row for each id cost more than to compare it, and an _id that an index just holds alone is too long for one beside
-- a number. What is in the table belongs to proofs under way; without it they ask for each document.
drop table if exists {schema}.couchdb_listing;
create unlogged table {schema}.couchdb_listing (
    proof bigint not null,
    hashes bigint[] not null
);
create index couchdb_listing_proof on {schema}.couchdb_listing (proof);
comment on table {schema}.couchdb_listing is
    'The ids that CouchDB listed for a full proof under way, a row for some thousand: what Postgres holds beside them is looked for at its end.';
comment on column {schema}.couchdb_listing.hashes is 'hashtextextended of each _id, with the number of the proof as seed.';
