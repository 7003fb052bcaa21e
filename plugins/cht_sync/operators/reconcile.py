"""The operator that compares one part of one source, and repairs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.operators.base import EndableOperator
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.settings import COUCHDB_CONN_ID, Settings

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReconcileOperator(EndableOperator):
    """Compares a part of one source in CouchDB and Postgres, and repairs what really differs.

    A difference counts only if a second look finds it again, and if the feed does not bring the document anyway. A
    repair goes through the same store as the sync, under the same lock, in steps of a few seconds.

    :param database: name of the CouchDB database.
    :param source: the ``source`` of its rows.
    :param part: what of it to compare, as planned in ``couchdb_reconciliation``.
    :param couchdb_conn_id: Airflow connection of the server, default ``cht_couchdb``.
    :raises SettingsError: if settings are wrong, or the database is gone or was emptied.
    :raises CouchDBError: if CouchDB does not answer for a minute.
    :raises StoreError: if Postgres fails for a minute.
    """

    template_fields = ()
    ui_color = "#d9ead3"
    kept = "what was repaired until then counts"

    def __init__(
        self, *, database: str, source: str, part: str, couchdb_conn_id: str = COUCHDB_CONN_ID, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.database, self.source, self.part, self.couchdb_conn_id = database, source, part, couchdb_conn_id

    @property
    def subject(self) -> str:
        """The source that it works on."""
        return self.source

    def work(self, context: Context) -> dict[str, Any]:
        """Compares and repairs."""
        settings = Settings()
        settings.check()
        with open_proof(settings, CouchDBHook(self.couchdb_conn_id), self.database, self.source, context) as proof:
            found = proof.run_part(self.part)
        if isinstance(found, str):
            self.log.warning(found)
            raise AirflowSkipException(found)
        self.log.info(
            "%s, %s: %s; %s compared, %s differed, %s repaired, %s on their way, %s with a new stamp.",
            self.source, self.part, found.verdict, f"{found.compared:,}", f"{found.differences:,}",
            f"{found.repaired:,}", f"{found.on_the_way:,}", f"{found.restamped:,}",
        )  # fmt: skip
        return {"verdict": found.verdict, "compared": found.compared, "repaired": found.repaired}
