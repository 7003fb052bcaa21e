"""What the tests of proofs share: a synced source, damage, and a proof of it in one call."""

from __future__ import annotations

import itertools
from contextlib import closing
from types import SimpleNamespace

import psycopg2

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.settings import Settings

_runs = itertools.count(1)


def context(run=None, **params):
    run = run or f"run {next(_runs)}"
    return {"run_id": run, "params": params, "dag_run": SimpleNamespace(dag_id="cht_reconcile", run_id=run)}


def prove_all(database, source, run=None, **params):
    """A full proof, its parts in order; gives the summary of its verdicts."""
    with open_proof(Settings(), CouchDBHook(), database, source, context(run, **params)) as proof:
        for part in proof.plan(None, full=True):
            proof.run_part(part)
        return proof.results.summary()


def prove_interval(database, source, interval, run=None, **params):
    """A proof of some time; gives the summary of its verdicts."""
    with open_proof(Settings(), CouchDBHook(), database, source, context(run, **params)) as proof:
        for part in proof.plan(interval, full=False):
            proof.run_part(part)
        return proof.results.summary()


class Rows:
    """The stored side, for damage."""

    def __init__(self, dsn):
        self._dsn = dsn

    def run(self, query, *values):
        with closing(psycopg2.connect(self._dsn)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []
