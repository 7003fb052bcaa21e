"""The task ``forms`` of the DAG ``cht_sync``, which keeps the catalogue of forms."""

from __future__ import annotations

import logging
import time
from contextlib import closing

from airflow.sdk import task

from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import CouchDBError, StoreError
from cht_sync.forms.read_definitions import DefinitionReader
from cht_sync.forms.statistics import Counter
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
DEFINITIONS_S, COUNT_S = 30.0, 30.0
# Another run follows: whatever does not answer now is asked again then.
TOLERANCE_S = 5.0


@task(
    task_id="forms",
    task_display_name="forms: read definitions, count reports",
    trigger_rule="all_done",
    retries=0,
    multiple_outputs=False,
)
def keep_catalogue() -> dict[str, bool]:
    """Reads definitions of forms that changed, and counts what new reports hold.

    :return: whether definitions and reports are all read.
    """
    return keep(Settings())


def keep(settings: Settings, definitions_s: float = DEFINITIONS_S, count_s: float = COUNT_S) -> dict[str, bool]:
    """Brings the catalogue up to date, as far as it comes in some seconds; servers that do not answer are passed over.

    :param definitions_s: seconds for definitions.
    :param count_s: seconds for reports.
    """
    names = Names(settings.raw_table.schema, settings.raw_table.table)
    done = {"definitions": False, "reports": False}
    try:
        sources = configured_sources(settings)
        connection = postgres_connection(settings)
        with closing(PatientSession(connection, "cht_sync forms", tolerance=TOLERANCE_S)) as session:
            reader = DefinitionReader(session, names, sources)
            done["definitions"] = reader.read(time.monotonic() + definitions_s)
            done["reports"] = Counter(session, names).count(time.monotonic() + count_s)
    except (CouchDBError, StoreError) as error:
        log.warning("The catalogue of forms stays as it is for now: %s", error)
    return done
