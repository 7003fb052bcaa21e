"""The command ``acknowledge-test``."""

from __future__ import annotations

import getpass
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, date, datetime

from cht_sync.dbt.tables.acknowledgements import Acknowledgement
from cht_sync.dbt.tables.test_results import DataTestResults
from cht_sync.errors import SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings


def acknowledge(parsed: Namespace) -> Iterator[str]:
    """Acknowledges a data test that fails, takes that back, or lists all that are acknowledged.

    :param parsed: the command line.
    :return: lines to print.
    :raises SettingsError: if a value cannot be used.
    :raises StoreError: if Postgres fails.
    """
    settings = Settings()
    stored = DataTestResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
    known = stored.acknowledgements
    if not parsed.test:
        yield from (f"{one.test}: {one.text}" for one in known.all().values())
        return
    if parsed.remove:
        known.remove(parsed.test)
        yield f"{parsed.test} turns cht_data_tests red again where it fails."
        return
    by = parsed.by or getpass.getuser()
    until = _day(parsed.until)
    one = Acknowledgement(
        parsed.test, parsed.reason, by, datetime.now(UTC), until=until, at_most=parsed.at_most, errors=parsed.errors
    )
    known.add(one, stored.names())
    yield f"{one.test}: {one.text}"
    yield "It counts from now on: trigger cht_data_tests, or clear what is red in its newest run."


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise SettingsError(f"--until {text!r} is no day: give it as YYYY-MM-DD.") from None
