-- The ledger: what each run of the sync did to a source, and between which stamps and seqs.
create table if not exists {schema}.couchdb_window (
    id uuid primary key,
    source varchar not null,
    dag_id varchar,
    run_id varchar,
    interval_start timestamptz,
    interval_end timestamptz,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    seq_from varchar,
    seq_to varchar,
    instance_start_time varchar,
    stamp_from timestamp,
    stamp_to timestamp,
    pages integer not null,
    documents bigint not null,
    tombstones bigint not null,
    changed bigint not null,
    quarantined bigint not null,
    bytes bigint not null,
    seconds double precision not null
);
create index if not exists couchdb_window_ended on {schema}.couchdb_window (source, ended_at);
comment on table {schema}.couchdb_window is
    'One row for each run and source, grown in the transaction of each page, so that it holds what was committed.';
comment on column {schema}.couchdb_window.seq_from is
    'Checkpoint (opaque) before the first page; null where the feed was read from its beginning, or not at all (pages = 0).';
comment on column {schema}.couchdb_window.stamp_from is
    'First saved_timestamp that the run gave: stamps become visible in order, so its rows lie from here to stamp_to.';

-- What comparisons with CouchDB have found: planned in parts, so that one that was ended goes on with what is missing.
create table if not exists {schema}.couchdb_reconciliation (
    run varchar not null,
    source varchar not null,
    part varchar not null,
    interval_start timestamptz,
    interval_end timestamptz,
    first_key varchar,
    end_key varchar,
    planned_at timestamptz not null default now(),
    finished_at timestamptz,
    compared bigint not null default 0,
    on_the_way bigint not null default 0,
    missing bigint not null default 0,
    stale bigint not null default 0,
    wrongly_alive bigint not null default 0,
    altered bigint not null default 0,
    repaired bigint not null default 0,
    restamped bigint not null default 0,
    doubtful bigint not null default 0,
    verdict varchar,
    reason varchar,
    primary key (run, source, part)
);
create index if not exists couchdb_reconciliation_planned on {schema}.couchdb_reconciliation (planned_at);
comment on table {schema}.couchdb_reconciliation is
    'Verdict for each source and part of a proof: equal, repaired, differs (nothing was to be repaired), in doubt or skipped.';
comment on column {schema}.couchdb_reconciliation.first_key is
    'JSON text of the _id that the range begins with, in the order of CouchDB; null for its beginning.';

-- The ids that CouchDB listed for a full proof under way: what Postgres holds beside them is looked for at its end.
-- It need not outlive a crash: what is not listed here is asked for one by one.
create unlogged table if not exists {schema}.couchdb_listing (
    proof bigint not null,
    _id varchar not null,
    primary key (proof, _id)
);
