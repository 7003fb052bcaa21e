"""The proof of equality at the end of a first load."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cht_sync.errors import RequestRefusedError
from cht_sync.reconcile.run import open_proof

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def prove_load(settings: Settings, hook: CouchDBHook, database: str, source: str, *, began: str, budget: float) -> bool:
    """Proves a source that was just loaded, part by part, and repairs what differs; the next run goes on with the rest.

    :param settings: the environment.
    :param hook: of the server.
    :param database: name of the database.
    :param source: name of the source.
    :param began: when the load began: names the proof in ``couchdb_reconciliation``.
    :param budget: seconds after which no further part is begun.
    :return: whether the proof has come to its end.
    :raises CouchDBError: if CouchDB does not answer.
    :raises StoreError: if Postgres fails.
    """
    try:
        return _prove(settings, hook, database, source, began=began, budget=budget)
    except RequestRefusedError as error:
        # The copy itself can do without.
        log.warning(
            "%s: the verification of the first load waits, since CouchDB or a proxy refuses its requests: let GET and"
            " POST to _all_docs and _bulk_get through. %s",
            source, error,
        )  # fmt: skip
        return False


def _prove(settings: Settings, hook: CouchDBHook, database: str, source: str, *, began: str, budget: float) -> bool:
    begun = time.monotonic()
    with open_proof(settings, hook, database, source, {"run_id": f"first_load {began}", "params": {}}) as proof:
        parts = proof.verdicts.unfinished()
        if parts is None:
            parts = proof.plan(None, full=True)
        for part in parts:
            if time.monotonic() - begun > budget:
                log.info(
                    "%s: time budget (%s s) used; the next run continues to verify the first load.", source, budget
                )
                return False
            proof.do(part)
        summary = proof.verdicts.summary()
    said = "equal" if not summary.bad else "not equal: " + " ".join(summary.reasons)
    log.log(
        logging.WARNING if summary.bad else logging.INFO,
        "%s: the first load is verified, %s documents compared, %s repaired; %s.",
        source, f"{summary.compared:,}", f"{summary.repaired:,}", said,
    )  # fmt: skip
    return True
