"""The table ``couchdb_window``: which documents each run has touched, and when."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from cht_sync.postgres.query import Names

if TYPE_CHECKING:
    from cht_sync.couchdb.structs import Page
    from cht_sync.store.page_writer import Written

# The first page of a run makes the row, each later one lets it grow.
_GROW = """
insert into {schema}.couchdb_window as w (
    id, source, dag_id, run_id, interval_start, interval_end, started_at, ended_at, seq_from, seq_to,
    instance_start_time, stamp_from, stamp_to, pages, documents, tombstones, changed, quarantined, bytes, seconds
) values (
    %(window)s, %(source)s, %(dag_id)s, %(run_id)s, %(interval_start)s, %(interval_end)s, transaction_timestamp(),
    clock_timestamp(), %(seq_from)s, %(seq_to)s, %(instance)s, %(first_stamp)s, %(last_stamp)s, %(pages)s,
    %(documents)s, %(tombstones)s, %(changed)s, %(quarantined)s, %(bytes)s,
    extract(epoch from clock_timestamp() - transaction_timestamp())
) on conflict (id) do update set
    ended_at = excluded.ended_at, seconds = extract(epoch from excluded.ended_at - w.started_at),
    seq_from = case when w.pages = 0 then excluded.seq_from else w.seq_from end,
    seq_to = coalesce(excluded.seq_to, w.seq_to),
    instance_start_time = coalesce(excluded.instance_start_time, w.instance_start_time),
    stamp_from = coalesce(w.stamp_from, excluded.stamp_from), stamp_to = coalesce(excluded.stamp_to, w.stamp_to),
    pages = w.pages + excluded.pages, documents = w.documents + excluded.documents,
    tombstones = w.tombstones + excluded.tombstones, changed = w.changed + excluded.changed,
    quarantined = w.quarantined + excluded.quarantined, bytes = w.bytes + excluded.bytes
"""
# For whoever asks which documents some time has touched, see reconcile/touched.
OF_INTERVAL = """
select seq_from, pages, documents + quarantined, stamp_from, stamp_to, instance_start_time from {schema}.couchdb_window
where source = %(source)s and started_at < %(end)s and ended_at >= %(start)s order by started_at
"""
FIRST = """
select started_at, seq_from is null and pages > 0 from {schema}.couchdb_window
where source = %s order by started_at limit 1
"""
PRUNE = "delete from {schema}.couchdb_window where ended_at < now() - make_interval(days => %(days)s)"


@dataclass(slots=True)
class Run:
    """Who writes, for the ledger."""

    dag_id: str | None = None
    run_id: str | None = None
    interval_start: datetime | None = None
    interval_end: datetime | None = None

    @classmethod
    def of(cls, context: Any) -> Run:
        """The run of a task."""
        run = context.get("dag_run")
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        return cls(getattr(run, "dag_id", None), getattr(run, "run_id", None), start, end)


class RunLedger:
    """Lets one window for each source of a run grow, in the transaction of whoever stores something.

    A window that was committed is there whatever is killed later, and one that was rolled back is not.
    """

    def __init__(self, names: Names, run: Run) -> None:
        self._names, self._run = names, run
        self._open: dict[str, str] = {}

    def entry(
        self,
        source: str,
        written: Written,
        page: Page | None = None,
        since: str | None = None,
        instance: str | None = None,
        *,
        size: int = 0,
    ) -> tuple[sql.Composed, dict[str, Any]]:
        """SQL and values that add to the run of a source what a transaction stores; ``size`` in bytes."""
        values = {
            "window": self._open.setdefault(source, str(uuid.uuid4())),
            "source": source,
            **{name: getattr(self._run, name) for name in Run.__slots__},
            "seq_from": since if page else None,
            "seq_to": page.checkpoint if page else None,
            "instance": instance,
            "first_stamp": written.first_stamp,
            "last_stamp": written.stamp,
            "pages": int(page is not None),
            "documents": written.documents,
            "tombstones": written.tombstones,
            "changed": written.rows,
            "quarantined": written.quarantined,
            "bytes": page.size if page else size,
        }
        return self._names.compose(_GROW), values
