"""One proof of one source: its parts, and what is done in each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.adaptive_reader import PageSize, read_ahead
from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.id_ranges import Range, id_ranges, id_ranges_near
from cht_sync.couchdb.range_feed import RangeFeed
from cht_sync.couchdb.structs import Change, DatabaseInfo
from cht_sync.reconcile.comparison import AT_A_TIME, Comparison, batched
from cht_sync.reconcile.difference import Difference, Found
from cht_sync.reconcile.repair import Repair
from cht_sync.reconcile.results import BESIDE, INTERVAL, TOMBSTONES, Part, PartResults
from cht_sync.reconcile.scope import Interval, TouchedDocuments
from cht_sync.store.checkpoints import Checkpoints, SourceState
from cht_sync.store.known_documents import has_rows
from cht_sync.sync.database_identity import check_not_emptied, says_when_made, sign_of_recreation

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.reconcile.postgres_side import StoredSide
    from cht_sync.store.document_store import DocumentStore

T = TypeVar("T")
MOST_RANGES = 500
# So that a range has its size within some percent, and so that rows that are lost do not make ranges uneven.
SAMPLES_A_RANGE, LEAST_OF_SAMPLE = 200, 0.7
LISTED_AT_A_TIME, BODIES_AT_A_TIME = 10_000, 1000
# So many differences are kept in memory.
SUSPECTS = 50_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is to do.

    :param reprocess: whether the documents of an interval get a new stamp, for the models.
    :param by_reported_date: whether documents say themselves when they were made, where the ledger does not.
    :param rate: documents a second at most; 0 for no limit.
    :param patience: seconds to wait for a sync before a repair.
    """

    dry_run: bool = False
    content: bool = False
    reprocess: bool = False
    by_reported_date: bool = False
    range_size: int = 50_000
    rate: int = 0
    patience: float = 600.0
    most_bytes: int = 64 * MEGABYTE


class Proof:
    """Proves one source, part by part; each part may be done by another process, and done again."""

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        source: str,
        stored: StoredSide,
        run: str,
        *,
        open_store: Callable[[], AbstractContextManager[DocumentStore]],
        options: Options,
    ) -> None:
        self._hook, self._database, self._source, self.stored = hook, database, source, stored
        self._open_store, self._options = open_store, options
        self.results = PartResults(stored, run, source)
        self._one_copy = False
        content, most = options.content, options.most_bytes
        self.comparison = Comparison(hook, database, stored, self._seq, content=content, most_bytes=most)

    # --- what is to be done ----------------------------------------------------------------------

    def plan(self, interval: Interval | None, full: bool) -> list[str]:
        """Plans the parts, in place of those of an earlier plan of the same name; ``beside`` comes after all others.

        :param interval: documents touched within are compared.
        """
        parts = [Part(INTERVAL, (interval.start, interval.end))] if interval else []
        parts += self._ranges() if full else []
        self.results.plan(parts)
        return [part.name for part in parts]

    def _ranges(self) -> list[Part]:
        info = self._hook.database(self._database)
        size = max(self._options.range_size, info.doc_count // MOST_RANGES)
        ranges = self._ranges_near_samples(info, size) or id_ranges(self._hook, self._database, size)
        parts = [Part(f"range {number}", keys=each) for number, each in enumerate(ranges, start=1)]
        parts += [] if info.doc_del_count == 0 else [Part(TOMBSTONES)]
        return [*parts, Part(BESIDE)]

    def _ranges_near_samples(self, info: DatabaseInfo, size: int) -> list[Range] | None:
        """Ranges that begin near ids that Postgres holds; None where it holds too few of them to tell."""
        number = -(-info.doc_count // size)
        if number < 2:
            return [(None, None)]
        wanted = SAMPLES_A_RANGE * number
        percent = min(100.0, 100 * wanted / info.doc_count)
        # By code points, as by the bytes of CouchDB; a server with another order is found out.
        sample = sorted(self.stored.sample(percent))
        if len(sample) < info.doc_count * percent / 100 * LEAST_OF_SAMPLE:
            return None
        guesses = dict.fromkeys(sample[len(sample) * each // number] for each in range(1, number))
        return id_ranges_near(self._hook, self._database, list(guesses))

    # --- doing it --------------------------------------------------------------------------------

    def run_part(self, part: str) -> Found | str:
        """Compares one part and writes its result; returns what was found, or why the part was skipped.

        :raises SettingsError: if the database is gone or was emptied.
        """
        planned, found = self.results.part(part), Found()
        info = self._hook.database(self._database)
        self._one_copy = info.has_one_copy
        if self._is_the_same_database(info, found):
            why_not = ""
            if part == INTERVAL:
                why_not = self._interval(Interval(*planned.interval), info, found)  # type: ignore[arg-type]
            elif part == TOMBSTONES:
                self._compare_listed(part, self._tombstones(), found)
            elif part == BESIDE:
                self._compare_ids(part, self.stored.unlisted(self.results.number()), found)
            else:
                self._compare_listed(part, self._range(planned.keys), found)
            if why_not:
                self.results.skip(part, why_not)
                return why_not
            self._settle(part, found)
        self.results.finish(part, found)
        return found

    def clear_doubt(self) -> None:
        """Notes that a proof of all documents, where this is one, has found nothing wrong."""
        proven = Checkpoints(self.stored.names).proven
        self.stored.ask("write couchdb_progress", lambda cursor: proven(cursor, self._source, self.results.run))

    def _state(self) -> SourceState:
        state = Checkpoints(self.stored.names).state
        return self.stored.ask("read couchdb_progress", lambda cursor: state(cursor, self._source))

    def _seq(self) -> str | None:
        return self._state().seq

    def _has_rows(self) -> bool:
        return self.stored.ask("read the documents", lambda cursor: has_rows(cursor, self.stored.names, self._source))

    def _is_the_same_database(self, info: DatabaseInfo, found: Found) -> bool:
        """Whether the rows are of this database: one that was made again is the sync's business first."""
        instance = info.instance_start_time if says_when_made(self._hook, info) else None
        sign = sign_of_recreation(lambda: self._hook.database(self._database), info, instance, self._state())
        check_not_emptied(self._source, info, bool(sign), self._has_rows)
        if sign:
            found.doubt(1, f"{self._source} is another database than before ({sign}): cht_sync has to read it first.")
        return not sign

    def _interval(self, interval: Interval, info: DatabaseInfo, found: Found) -> str:
        touched = TouchedDocuments(self.comparison, self._source, info).of(interval, self._options.by_reported_date)
        if isinstance(touched, str):
            return touched
        again = self._options.reprocess and not self._options.dry_run
        for ids in touched:
            self._compare_ids(INTERVAL, iter([ids]), found)
            if again:
                self._restamp(ids, found)
        if purged := self._hook.purged(self._database):
            self._compare_ids(INTERVAL, batched(purged, AT_A_TIME), found)
        return ""

    def _restamp(self, ids: list[str], found: Found) -> None:
        with self._open_store() as store:
            for some in batched((each for each in ids if storable(each)), AT_A_TIME):
                found.restamped += store.restamp(self._source, some).rows

    # --- comparing -------------------------------------------------------------------------------

    def _compare_ids(self, part: str, batches: Iterator[list[str]], found: Found) -> None:
        self._compare(part, batches, found, partial(self.comparison.compare_ids, found=found))

    def _compare_listed(self, part: str, batches: Iterator[list[Change]], found: Found) -> None:
        self._compare(part, batches, found, partial(self.comparison.compare, proof=self.results.number()))

    def _compare(
        self, part: str, batches: Iterator[list[T]], found: Found, compare: Callable[[list[T]], list[Difference]]
    ) -> None:
        """Compares batches, no faster than the rate allows."""
        for batch in batches:
            begun = time.monotonic()
            found.compared += len(batch)
            found.suspects += compare(batch)
            self._settle(part, found, SUSPECTS)
            if self._options.rate:
                time.sleep(max(0.0, len(batch) / self._options.rate - (time.monotonic() - begun)))

    def _range(self, keys: Range) -> Iterator[list[Change]]:
        """The documents of a range; while some are compared, the next are on the wire."""
        content, most = self._options.content, self._options.most_bytes
        at_a_time = BODIES_AT_A_TIME if content else LISTED_AT_A_TIME
        size = PageSize(at_a_time, first=at_a_time)
        walk = RangeFeed(self._hook, self._database, keys, size=size, bodies=content, page_bytes=most)
        for page, _ in read_ahead(iter(walk)):
            yield page.results

    def _tombstones(self) -> Iterator[list[Change]]:
        """Deleted documents, which no listing names; the feed does."""
        for page in self.comparison.pages(None):
            yield [change for change in page.results if change.deleted]

    def _settle(self, part: str, found: Found, least: int = 1) -> None:
        """Has a second look at what differs, once there is enough of it; repairs it, unless it is only to be told."""
        if len(found.suspects) < least:
            return
        suspects = list({each.id: each for each in found.suspects}.values())
        sure = self.comparison.confirmed(suspects, found)
        found.suspects = []
        if self._options.dry_run:
            found.count(sure)
            return
        repair = Repair(
            self.comparison,
            self._source,
            self._open_store,
            patience=self._options.patience,
            note=lambda cursor, number: self.results.repaired(cursor, part, number),
            one_copy=self._one_copy,
        )
        repair.run(sure, found)
