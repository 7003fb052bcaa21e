"""The variables of the copy and of its proof."""

from __future__ import annotations

from cht_sync.common.units import MEGABYTE
from cht_sync.errors import SettingsError
from cht_sync.settings.servers import ServerSettings

DEFAULT_SCHEDULE = "* * * * *"
# Of Airflow's presets croniter knows the others.
# Source: https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/cron.html#cron-presets
NOT_IN_CRONITER = {"@continuous", "@once", "@quarterly"}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SyncSettings(ServerSettings):
    """When and how much is copied and proven."""

    @property
    def batch_size(self) -> int:
        """``BATCH_SIZE``: at most so many changes in one page, default 1000."""
        return self.number("BATCH_SIZE", 1000, low=1, high=100_000)

    @property
    def max_page_bytes(self) -> int:
        """``CHT_SYNC_MAX_MB``: megabytes read into memory at most, of a page, a document or a list, default 64."""
        return self.number("CHT_SYNC_MAX_MB", 64, low=1, high=250) * MEGABYTE

    @property
    def schedule(self) -> str | None:
        """``CHT_SYNC_SCHEDULE``: a cron expression or preset, default every minute; ``none`` for by hand only."""
        return self._schedule("CHT_SYNC_SCHEDULE", DEFAULT_SCHEDULE)

    @property
    def sync_mode(self) -> str:
        """``CHT_SYNC_MODE``: what starts a run: ``schedule`` (default), ``event`` (a change in CouchDB) or ``both``."""
        value = self.text("CHT_SYNC_MODE", "schedule").lower()
        if value not in {"schedule", "event", "both"}:
            raise SettingsError(
                f"CHT_SYNC_MODE={value!r} is unknown: use 'schedule', 'event' or 'both'.", "CHT_SYNC_MODE"
            )
        if value == "both" and self.schedule in NOT_IN_CRONITER:
            raise SettingsError(
                f"CHT_SYNC_MODE='both' does not go with CHT_SYNC_SCHEDULE={self.schedule!r}: give a cron"
                " expression such as '*/5 * * * *', or use 'event'.",
                "CHT_SYNC_MODE",
            )
        return value

    @property
    def time_budget(self) -> int:
        """``CHT_SYNC_TIME_BUDGET``: seconds after which a source's task hands over to the models, default 300."""
        return self.number("CHT_SYNC_TIME_BUDGET", 300, low=1, high=86_400)

    @property
    def first_load_threshold(self) -> int:
        """``CHT_FIRST_LOAD_THRESHOLD``: documents from which on a database is first loaded by ranges of ids, several at
        once, default 100,000; 0 for never.
        """
        return self.number("CHT_FIRST_LOAD_THRESHOLD", 100_000, low=0, high=2_000_000_000)

    @property
    def first_load_connections(self) -> int:
        """``CHT_FIRST_LOAD_CONNECTIONS``: ranges that a first load reads at once, default 4."""
        return self.number("CHT_FIRST_LOAD_CONNECTIONS", 4, low=1, high=16)

    @property
    def older_after(self) -> int:
        """``CHT_OLDER_AFTER``: minutes for which a CouchDB cluster has to keep to an older revision than PostgreSQL
        holds, or to none, before the row goes back, default 60; a server with one copy of each document need not.
        """
        return self.number("CHT_OLDER_AFTER", 60, low=0, high=10_080)

    @property
    def run_timeout(self) -> int:
        """``CHT_SYNC_TIMEOUT``: minutes after which Airflow ends a whole run, default 120."""
        return self.number("CHT_SYNC_TIMEOUT", 120, low=1, high=10_080)

    @property
    def reconcile_schedule(self) -> str | None:
        """``CHT_RECONCILE_SCHEDULE``: a cron expression, default midnight UTC; ``none`` for by hand only."""
        return self._schedule("CHT_RECONCILE_SCHEDULE", "0 0 * * *", intervals=True)

    @property
    def full_proof_day(self) -> int | None:
        """``CHT_RECONCILE_FULL``: the day of the week on which all documents are compared, default ``sunday``, or
        ``never``; as a number, Monday is 0.
        """
        value = self.text("CHT_RECONCILE_FULL", "sunday").lower()
        if value not in {*WEEKDAYS, "never"}:
            raise SettingsError(
                f"CHT_RECONCILE_FULL={value!r} is unknown: use a day such as 'sunday', or 'never'.",
                "CHT_RECONCILE_FULL",
            )
        return None if value == "never" else WEEKDAYS.index(value)

    @property
    def reconcile_range(self) -> int:
        """``CHT_RECONCILE_RANGE``: documents that one task of a full proof compares, default 50,000."""
        return self.number("CHT_RECONCILE_RANGE", 50_000, low=1, high=10_000_000)

    @property
    def reconcile_parallel(self) -> int:
        """``CHT_RECONCILE_PARALLEL``: ranges compared at once, whatever the number of runs, default 2."""
        return self.number("CHT_RECONCILE_PARALLEL", 2, low=1, high=64)

    @property
    def reconcile_rate(self) -> int:
        """``CHT_RECONCILE_RATE``: documents a second that one task compares at most, 0 (default) for no limit."""
        return self.number("CHT_RECONCILE_RATE", 0, low=0, high=1_000_000)

    @property
    def reconcile_pool(self) -> str:
        """``CHT_RECONCILE_POOL``: the Airflow pool of the comparing tasks, default ``default_pool``."""
        return self.text("CHT_RECONCILE_POOL", "default_pool")

    @property
    def ledger_days(self) -> int:
        """``CHT_SYNC_LEDGER_DAYS``: days for which the ledger and the verdicts of proofs are kept, default 400."""
        return self.number("CHT_SYNC_LEDGER_DAYS", 400, low=1, high=36_500)

    @property
    def owner_links(self) -> dict[str, str]:
        """``CHT_OWNER_LINK``: where the owner ``cht-sync`` of the DAGs leads in Airflow's UI, such as the page or the
        address of the team on call: ``https://`` or ``mailto:``; default nowhere.
        """
        link = self.text("CHT_OWNER_LINK")
        if link and not link.startswith(("https://", "http://", "mailto:")):
            raise SettingsError(
                f"CHT_OWNER_LINK={link!r} has to begin with https://, http:// or mailto:.", "CHT_OWNER_LINK"
            )
        return {"cht-sync": link} if link else {}

    def _schedule(self, name: str, default: str, *, intervals: bool = False) -> str | None:
        """A schedule; with ``intervals`` one that has data intervals, which rules out some presets."""
        from croniter import croniter

        value = self.text(name, default)
        if value.lower() in {"none", "@none"}:
            return None
        if (intervals or value not in NOT_IN_CRONITER) and not croniter.is_valid(value):
            presets = "'@hourly'" if intervals else "'@hourly' or '@continuous'"
            raise SettingsError(
                f"{name}={value!r} is no cron expression: use one such as '*/5 * * * *', a preset such as {presets},"
                " or 'none'.",
                name,
            )
        return value
