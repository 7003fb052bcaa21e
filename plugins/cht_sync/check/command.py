"""Runs every check and prints what it found, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cht_sync.check.airflow_database import check_airflow_database, check_paused, check_triggerer
from cht_sync.check.couchdb import check_couchdb, check_renamed
from cht_sync.check.finding import Finding, State, failed, ok
from cht_sync.check.machine import check_disk, check_versions
from cht_sync.check.postgres import check_postgres
from cht_sync.check.settings import check_models, check_unread
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

Check = Callable[[], Iterable[Finding]]


def check(settings: Settings | None = None, show: Callable[[str], None] = print) -> int:
    """Tells what is missing for a run.

    :return: exit code: 1 where something failed, 0 where there is nothing worse than a warning.
    """
    counts = dict.fromkeys(State, 0)
    for finding in findings(checks(settings or Settings())):
        counts[finding.state] += 1
        show(str(finding))
    show(f"{counts[State.OK]} ok, {counts[State.WARNING]} warnings, {counts[State.FAILED]} failed.")
    return 1 if counts[State.FAILED] else 0


def checks(settings: Settings) -> dict[str, Check]:
    """Every check by its name, what is near first.

    :param settings: the environment; where a variable cannot be used the others are checked with its default.
    """
    usable = settings.usable()
    return {
        "Versions": check_versions,
        "Settings": partial(_check_settings, settings),
        "Variables": partial(check_unread, settings),
        "Disk": partial(check_disk, usable),
        "Airflow's database": check_airflow_database,
        "DAGs": check_paused,
        "Triggerer": partial(check_triggerer, usable),
        "dbt project": partial(check_models, usable),
        "CouchDB": partial(check_couchdb, usable),
        "Postgres": partial(check_postgres, usable),
        "Names of sources": partial(check_renamed, usable),
    }


def findings(named: dict[str, Check]) -> Iterator[Finding]:
    """What the checks find; one that breaks does not stop the others."""
    for name, each in named.items():
        try:
            yield from each()
        except Exception as error:
            # Only its kind, since the text of an error that nobody foresaw may hold anything.
            yield failed(name, f"could not be checked ({type(error).__name__}).")


def _check_settings(settings: Settings) -> Iterator[Finding]:
    try:
        settings.check()
    except SettingsError as error:
        yield failed("Settings", str(error))
    else:
        yield ok("Settings", "every variable can be used.")
