"""One writer at a time for each source."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable

from cht_sync.common.log_throttle import Seldom
from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.postgres.lock_watch import FIRST_S, THEN_S
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.session import PatientSession
from cht_sync.store.page_writer import PAGE_TABLE

MOMENT_S = 2.0
# What a repair calls itself in pg_stat_activity, and seconds for which a sync waits for repairs at most.
REPAIR, REPAIR_S = "cht_reconcile", 120.0
log = logging.getLogger(__name__)


class SourceClaims:
    """Locks of sources that a session has until it ends; whoever ends it empties ``claimed``."""

    def __init__(
        self, session: PatientSession, locks: Locks, lock_name: Callable[[str], str], claimed: set[str]
    ) -> None:
        self._session, self._locks, self._lock_name, self._claimed = session, locks, lock_name, claimed

    def claim(self, source: str, patience: float) -> None:
        """Makes the session the one writer of a source.

        A repair holds a source for a few seconds only, so that it is always waited for.

        :param patience: seconds to wait for another writer.
        :raises CheckpointConflictError: if another writer has it; the text says who and since when.
        """
        tries = itertools.count()

        def once() -> None:
            (self.claim_again if next(tries) else self._claim)(source, patience)

        self._session.patiently(once)

    def claim_again(self, source: str, patience: float = MOMENT_S) -> None:
        """The same after the session was lost: Postgres needs a moment to notice, so that a conflict is tried again."""
        try:
            self._claim(source, patience)
        except CheckpointConflictError as error:
            raise StoreError(str(error), passing=True) from None

    def _claim(self, source: str, patience: float) -> None:
        name, begun, tell = self._lock_name(source), time.monotonic(), Seldom(FIRST_S, THEN_S)
        while not self._try_to_claim(source, name):
            # The session of a run that has just ended or was killed may take a moment to be gone.
            waited = time.monotonic() - begun
            if waited > patience and (waited > REPAIR_S or not self._holder(name).startswith(REPAIR)):
                raise CheckpointConflictError(
                    f"Source {source} is being written by {self._holder(name)}: wait until it ends, or end it with"
                    " pg_terminate_backend if nothing of it runs any more."
                )
            if tell.due():
                log.warning("Waiting for %s, which writes %s, for %.0f s now.", self._holder(name), source, waited)
            time.sleep(0.1)

    def _holder(self, name: str) -> str:
        with self._session.transaction("look for who holds a source") as cursor:
            return self._locks.holder(cursor, name) or "a session that has just ended"

    def _try_to_claim(self, source: str, name: str) -> bool:
        with self._session.transaction("lock a source") as cursor:
            if not self._locks.take(cursor, name):
                return False
            cursor.execute(PAGE_TABLE)
        self._claimed.add(source)
        return True
