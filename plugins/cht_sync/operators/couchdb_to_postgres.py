"""The operator that copies one database."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias, BaseOperator

from cht_sync.connections import postgres_connection
from cht_sync.couchdb import CouchDBHook
from cht_sync.feed import ChangesFeed
from cht_sync.page import MEGABYTE
from cht_sync.settings import COUCHDB_CONN_ID, Settings
from cht_sync.sources import source_name
from cht_sync.store import DocumentStore, Saved

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cht_sync.page import Page

DOCUMENTS = AssetAlias("cht_documents")


@dataclass(slots=True)
class Progress:
    """What a run has done for one source so far; its fields are the XCom summary."""

    source: str
    documents: int = 0
    tombstones: int = 0
    rows: int = 0
    pages: int = 0
    bytes: int = 0
    seconds: float = 0.0
    pending: int | None = None
    drained: bool = False

    def add(self, page: Page, saved: Saved, seconds: float) -> None:
        """Counts a page that was stored.

        :param page: the page.
        :param saved: what the store said of it.
        :param seconds: time since the run began.
        """
        self.documents += saved.documents
        self.tombstones += saved.tombstones
        self.rows += saved.rows
        self.pages += 1
        self.bytes += page.size
        self.seconds = round(seconds, 3)
        self.drained = page.is_last
        self.pending = 0 if page.is_last else page.pending

    def line(self, page: Page, saved: Saved, total: int | None) -> str:
        """The log line of the page just added.

        :param page: the page.
        :param saved: what the store said of it.
        :param total: documents to copy in all, where the copy began at the beginning; for servers that do not
            count what is pending.
        """
        rate = self.documents / self.seconds if self.seconds else 0.0
        rest = self.pending if self.pending is not None or total is None else max(total - self.documents, 0)
        pending = "an unknown number" if rest is None else f"{rest:,}"
        left = f", about {_duration(rest / rate)} left" if rest and rate else ""
        return (
            f"{self.source}: page {self.pages}: {saved.documents:,} documents ({saved.tombstones:,} tombstones),"
            f" {page.size / MEGABYTE:.1f} MB, {rate:,.0f} documents/s, {pending} pending{left}"
        )


class CouchDBToPostgresOperator(BaseOperator):
    """Copies the changes of one CouchDB database to Postgres, from its checkpoint until the feed is drained.

    A page and its checkpoint are committed together, so a task that is killed loses nothing and repeats
    nothing; run again, it goes on where it was.

    :param database: name of the CouchDB database.
    :param couchdb_conn_id: Airflow connection of the server, default ``cht_couchdb``.
    :param source: name to store as the rows' ``source``; default ``<host>/<database>``.
    :param batch_size: changes in a page at most; default ``BATCH_SIZE``.
    :param time_budget: seconds after which the task ends with the rest pending, so that models can follow;
        default ``CHT_SYNC_TIME_BUDGET``.
    :raises SettingsError: if settings, databases, roles or tables are wrong; nothing has been written then.
    :raises CouchDBError: if CouchDB does not answer for a minute.
    :raises StoreError: if Postgres fails.
    """

    template_fields = ("couchdb_conn_id", "database", "source")
    ui_color = "#d5e8f0"

    def __init__(
        self,
        *,
        database: str,
        couchdb_conn_id: str = COUCHDB_CONN_ID,
        source: str | None = None,
        batch_size: int | None = None,
        time_budget: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", [DOCUMENTS])
        super().__init__(**kwargs)
        self.database = database
        self.couchdb_conn_id = couchdb_conn_id
        self.source = source
        self.batch_size = batch_size
        self.time_budget = time_budget

    def execute(self, context: Context) -> dict[str, Any]:
        """Copies what changed.

        :param context: Airflow's; an asset event is added to it where rows changed.
        :return: counts of documents, tombstones, changed rows, pages, bytes and seconds; what is pending.
        """
        settings = Settings()
        settings.check()
        hook = CouchDBHook(self.couchdb_conn_id)
        source = self.source or source_name(hook, self.database)
        budget = self.time_budget or settings.time_budget
        assets = [source_asset(source), table_asset(settings)]
        database = hook.database(self.database)  # refuses a wrong password or name before anything is written
        with DocumentStore(postgres_connection(settings), settings.raw_table, f"cht_sync {source}") as store:
            for migration in store.prepare():
                self.log.info("Applied migration %s.", migration)
            store.claim(source)
            since = store.checkpoint(source)
            feed = ChangesFeed(hook, self.database, since, self.batch_size or settings.batch_size)
            total = None if since else database.doc_count + database.doc_del_count
            progress = self._drain(feed, store, Progress(source), since=since, total=total, budget=budget)
        self._report(context, progress, assets)
        return asdict(progress)

    def _drain(
        self,
        feed: ChangesFeed,
        store: DocumentStore,
        progress: Progress,
        *,
        since: str | None,
        total: int | None,
        budget: float,
    ) -> Progress:
        source, begun = progress.source, time.monotonic()
        self.log.info("%s: reading changes %s.", source, "from the checkpoint" if since else "from the beginning")
        for page in feed:
            saved = store.save(source, page, since)
            since = page.checkpoint
            progress.add(page, saved, time.monotonic() - begun)
            if saved.documents:
                self.log.info(progress.line(page, saved, total))
            if progress.seconds > budget and not page.is_last:
                self.log.info("%s: %s s are over; the next run goes on from here.", source, budget)
                break
        return progress

    def _report(self, context: Context, progress: Progress, assets: list[Asset]) -> None:
        state = "drained" if progress.drained else "not drained yet"
        self.log.info(
            "%s: %s; %s documents (%s rows changed) in %s pages, %.1f s.",
            progress.source,
            state,
            f"{progress.documents:,}",
            f"{progress.rows:,}",
            progress.pages,
            progress.seconds,
        )
        if not progress.rows or "outlet_events" not in context:
            return
        events = context["outlet_events"][DOCUMENTS]
        for asset in assets:
            events.add(asset, extra={"source": progress.source, "rows": progress.rows})


def source_asset(source: str) -> Asset:
    """The asset of one source: has an event whenever a run copied changes of it.

    :param source: ``<host>/<database>``.
    """
    return Asset(f"couchdb://{quote(source)}")


def table_asset(settings: Settings) -> Asset:
    """The asset of the table of documents, whatever source they came from.

    :param settings: the environment.
    """
    connection, raw = postgres_connection(settings), settings.raw_table
    path = "/".join(quote(str(part), safe="") for part in (connection.schema, raw.schema, raw.table))
    return Asset(f"postgres://{connection.host or 'localhost'}:{connection.port or 5432}/{path}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
