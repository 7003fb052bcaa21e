"""The settings of the copy and of its reconciliation."""

from __future__ import annotations

from cht_sync.common.units import MEGABYTE
from cht_sync.settings.setting import NOT_IN_CRONITER, Choice, Number, Schedule, Section, Text

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SyncSection(Section):
    """When and how much is copied."""

    title = "The sync"
    # fmt: off
    schedule = Schedule(
        "CHT_SYNC_SCHEDULE", "* * * * *",
        about="A cron expression, a preset such as @hourly or @continuous, or none to start runs by hand only.",
    )
    _sync_mode = Choice(
        "CHT_SYNC_MODE", "schedule", ("schedule", "event", "both"),
        about="What starts a run: schedule, event (a change in CouchDB, which the triggerer waits for) or both.",
    )
    time_budget = Number(
        "CHT_SYNC_TIME_BUDGET", 300, low=1, high=86_400,
        about="Seconds after which a long copy hands over to the models; the next run goes on from there.",
    )
    first_load_threshold = Number(
        "CHT_FIRST_LOAD_THRESHOLD", 100_000, low=0, high=2_000_000_000,
        about="A database that was never copied and holds so many documents or more is first loaded by ranges of ids;"
        " 0 for never.",
    )
    first_load_connections = Number(
        "CHT_FIRST_LOAD_CONNECTIONS", 4, low=1, high=16,
        about="Ranges that a first load reads at once, each by a connection of its own.",
    )
    older_after = Number(
        "CHT_OLDER_AFTER", 60, low=0, high=10_080,
        about="Minutes for which a CouchDB cluster has to keep to an older revision than PostgreSQL holds, or to none,"
        " before the row goes back to it. A server that keeps each document once need not.",
    )
    run_timeout = Number(
        "CHT_SYNC_TIMEOUT", 120, low=1, high=10_080,
        about="Minutes after which Airflow ends a whole run.",
    )
    batch_size = Number(
        "BATCH_SIZE", 1000, low=1, high=100_000,
        about="Changes in one request at most; fewer are asked for where documents are large.",
    )
    max_page_bytes = Number(
        "CHT_SYNC_MAX_MB", 64, low=1, high=250, unit=MEGABYTE,
        about="Megabytes of one document that are read into memory at most; a larger one goes to quarantine. Lists of"
        " names and revisions may have as much, at least 64.",
    )
    _tombstone_bodies = Choice(
        "CHT_TOMBSTONE_BODIES", "stub", ("stub", "keep"),
        about="What is stored of a deleted document: stub (that it is deleted, as in CHT Sync 2.x) or keep (all that"
        " CouchDB still hands out, such as names and phones of deleted people). `python -m cht_sync tombstones` cuts"
        " what was kept.",
    )
    _owner_link = Text(
        "CHT_OWNER_LINK",
        about="Where the owner of the DAGs leads in Airflow's UI: a page or a mailto: address of the team on call.",
    )
    # fmt: on

    @property
    def sync_mode(self) -> str:
        """What starts a run: ``schedule``, ``event`` (a change in CouchDB) or ``both``."""
        value = self._sync_mode
        if value == "both" and self.schedule in NOT_IN_CRONITER:
            raise SyncSection._sync_mode.refused(
                value,
                f"does not go with CHT_SYNC_SCHEDULE={self.schedule!r}: give a cron expression such as '*/5 * * * *',"
                " or use 'event'.",
            )
        return value

    @property
    def tombstone_bodies(self) -> bool:
        """Whether deleted documents are stored whole, and not only that they are deleted."""
        return self._tombstone_bodies == "keep"

    @property
    def owner_links(self) -> dict[str, str]:
        """Where the owner ``cht-sync`` of the DAGs leads in Airflow's UI; by default nowhere."""
        link = self._owner_link
        if link and not link.startswith(("https://", "http://", "mailto:")):
            raise SyncSection._owner_link.refused(link, "has to begin with https://, http:// or mailto:.")
        return {"cht-sync": link} if link else {}


class ReconcileSection(Section):
    """When and how fast the copy is compared with CouchDB."""

    title = "Reconciliation (the DAG cht_reconcile)"
    # fmt: off
    reconcile_schedule = Schedule(
        "CHT_RECONCILE_SCHEDULE", "0 0 * * *", intervals=True,
        about="When the past interval is compared: a cron expression (UTC), or none to start runs by hand only.",
    )
    _full_proof_day = Choice(
        "CHT_RECONCILE_FULL", "sunday", (*WEEKDAYS, "never"),
        about="The day of the week on which the scheduled run compares all documents, or never.",
    )
    reconcile_range = Number(
        "CHT_RECONCILE_RANGE", 50_000, low=1, high=10_000_000,
        about="Documents that one task of a full comparison compares.",
    )
    reconcile_parallel = Number(
        "CHT_RECONCILE_PARALLEL", 2, low=1, high=64,
        about="Tasks that compare at once, of all runs together, and documents a second that each compares at most (0:"
        " no limit).",
    )
    reconcile_rate = Number("CHT_RECONCILE_RATE", 0, low=0, high=1_000_000)
    reconcile_pool = Text(
        "CHT_RECONCILE_POOL", "default_pool",
        about="An Airflow pool for these tasks; it has to be there.",
    )
    ledger_days = Number(
        "CHT_SYNC_LEDGER_DAYS", 400, low=1, high=36_500,
        about="Days for which the sync run history and results of reconciliations are kept: no backfill reaches"
        " back farther.",
    )
    # fmt: on

    @property
    def full_proof_day(self) -> int | None:
        """The day of the week on which all documents are compared, Monday as 0; None for never."""
        value = self._full_proof_day
        return None if value == "never" else WEEKDAYS.index(value)
