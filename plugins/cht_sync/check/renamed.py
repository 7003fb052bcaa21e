"""Whether a source that was never read is one that was copied under another name."""

from __future__ import annotations

from collections.abc import Iterator

from cht_sync.check.couchdb import NO_TOLERANCE_S, QuietHook
from cht_sync.check.finding import Finding, failed
from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import CouchDBError, RequestRefusedError, SettingsError, StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.sync.rename_source import check_not_renamed


def check_renamed(settings: Settings) -> Iterator[Finding]:
    """One finding for each source that a run would refuse; servers that do not answer are found by others."""
    try:
        sources = configured_sources(settings)
        order = [source["source"] for source in sources]
        with DocumentStore(postgres_connection(settings), settings.raw_table, "cht_sync check", tolerance=0) as store:
            store.sources()
            for source in sources:
                hook = QuietHook(source["couchdb_conn_id"], tolerance=NO_TOLERANCE_S)
                try:
                    check_not_renamed(store, hook, source["database"], source["source"], order)
                except RequestRefusedError:
                    continue  # its feed is checked elsewhere
                except SettingsError as error:
                    yield failed(f"Source {source['source']}", str(error))
    except (SettingsError, StoreError, CouchDBError):
        # Also where nothing was ever copied, so that there is no table to read.
        return
