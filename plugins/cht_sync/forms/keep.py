"""Keeps the catalogue of forms: by the runs of the copy in steps, by a deployment at once."""

from __future__ import annotations

import logging
import time
from contextlib import closing

from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import CouchDBError, SettingsError, StoreError
from cht_sync.forms.read_definitions import DefinitionReader
from cht_sync.forms.statistics import Counter
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def keep_up_to_date(
    settings: Settings, definitions_s: float = 30.0, count_s: float = 30.0, tolerance_s: float = 5.0
) -> dict[str, bool]:
    """Brings the catalogue up to date, as far as it comes in some seconds; servers that do not answer are passed over.

    :param definitions_s: seconds for definitions.
    :param count_s: seconds for what reports hold.
    :param tolerance_s: seconds that Postgres may be away; another run follows.
    :return: whether definitions and reports are all read.
    """
    names = Names(settings.raw_table.schema, settings.raw_table.table)
    done = {"definitions": False, "reports": False}
    connection = postgres_connection(settings)
    with closing(PatientSession(connection, "cht_sync forms", tolerance=tolerance_s)) as session:
        try:
            reader = DefinitionReader(session, names, configured_sources(settings))
            done["definitions"] = reader.read(time.monotonic() + definitions_s)
        except (CouchDBError, SettingsError, StoreError) as error:
            log.warning("Definitions of forms stay as they are for now: %s", error)
        try:
            done["reports"] = Counter(session, names).count(time.monotonic() + count_s)
        except StoreError as error:
            log.warning("What reports hold is counted by another run: %s", error)
    return done
