"""What people are told of: how it begins and how it ends, in the tables of the sync."""

SECRET = "Aïcha-of-the-village"
TOKEN = "t0ken-of-the-webhook"
# What makes it the case, and what ends it.
CASES = {
    "source": (
        "update v1.couchdb_progress set updated_at = now() - interval '16 minutes'",
        "update v1.couchdb_progress set updated_at = now()",
        "couch/medic",
    ),
    "behind": (
        "update v1.couchdb_progress set drained_at = now() - interval '61 minutes', pending = 70000, updated_at = now()",
        "update v1.couchdb_progress set drained_at = now(), pending = 0, updated_at = now()",
        "couch/medic",
    ),
    "freshness": (
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values"
        " ((now() at time zone 'utc') - interval '2 hours', 'a', false, 'couch/medic', '{}');"
        "insert into v1.couchdb_model_run values ('v1', '', (now() at time zone 'utc') - interval '3 hours', 'd', now())",
        "update v1.couchdb_model_run set modelled_to = now() at time zone 'utc'",
        "v1",
    ),
    "quarantine": (
        "insert into v1.couchdb_quarantine (source, key, _id, seq, body, body_bytes, reason, sqlstate, first_seen, last_seen, attempts)"
        f" values ('couch/medic', '\\x01', 'patient-of-{SECRET}', '1', '{SECRET}', 9, 'Postgres: {SECRET}', '22P02', now(), now(), 1)",
        "update v1.couchdb_quarantine set resolved_at = now()",
        "couch/medic",
    ),
    "models": (
        "insert into v1.couchdb_model_result (models_schema, model, name, status, message, failing_since)"
        f" values ('v1', 'm.contact', 'contact', 'error', 'invalid date {SECRET}', now())",
        "update v1.couchdb_model_result set status = 'success', failing_since = null",
        "v1",
    ),
    "guard": (
        "insert into v1.couchdb_model_result (models_schema, model, name, status, held)"
        " values ('v1', 'm.document_metadata', 'document_metadata', 'success', 'waits for contact')",
        "update v1.couchdb_model_result set held = null",
        "v1",
    ),
    "proof": (
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__1', 'couch/medic', 'range 1', now() - interval '2 h', now(), 'differs')",
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__2', 'couch/medic', 'range 1', now(), now(), 'repaired')",
        "couch/medic",
    ),
    "reconciliation_overdue": (
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__1', 'couch/medic', 'range 1', now() - interval '3 d', now() - interval '3 d', 'equal')",
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__2', 'couch/medic', 'range 1', now(), now(), 'repaired')",
        "couch/medic",
    ),
}  # fmt: skip
