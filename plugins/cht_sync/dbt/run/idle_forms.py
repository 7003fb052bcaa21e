"""Which models of forms a run can leave out: those of whose form nothing arrived."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.forms.names import form_key
from cht_sync.forms.rows import contact_code
from cht_sync.postgres.lookups import relation_exists, value_of
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
# Of more documents it takes longer to look into each than to run all models.
MOST_DOCUMENTS = 20_000
DATA_RECORD, CONTACT, PROGRESS = "data_record", "contact", "dbt_progress"
# The column by which a model says what form a row is of.
TOLD_BY = {DATA_RECORD: "form", CONTACT: "contact_type"}
_NEWEST = "select max(saved_timestamp) from {model}"
# The starter's models write what is new; those of others write the rows with the newest stamp again, and with them go
# those of the tables below.
_KEEPS_PROGRESS = "select exists (select from {progress} where model = %s and modelled_until is not null)"
_WRITTEN_AGAIN = "select distinct {told} from {model} where saved_timestamp >= %s"
_MANY = """
select count(*) > %(most)s from (select from {raw} where saved_timestamp >= %(since)s limit %(most)s + 1) as arrived
"""
# A report that was of another form has to leave the table of that one.
_ARRIVED = """
select doc ->> 'form' from {raw} where saved_timestamp >= %(since)s and doc ->> 'type' = 'data_record'
union
select data_record.form from {raw} as raw join {data_record} as data_record on data_record.uuid = raw._id
where raw.saved_timestamp >= %(since)s
"""
# The same of contacts, whose type is said as the models `contact` of the starter and of cht-pipeline take it.
_ARRIVED_CONTACTS = """
select told.type from {raw}
cross join lateral (values (doc ->> 'contact_type'), (doc ->> 'type')) as told (type)
where saved_timestamp >= %(since)s
union
select contact.contact_type from {raw} as raw join {contact} as contact on contact.uuid = raw._id
where raw.saved_timestamp >= %(since)s
"""


def idle_forms(settings: Settings, forms: Mapping[str, str], deployment: str) -> set[str]:
    """Models of forms of which nothing arrived since the last good run of the models; none where that is not known.

    :param forms: for each model by unique id, what its documents arrive as: :func:`~cht_sync.forms.rows.arrives_as`.
    :param deployment: the version of the project that the models run in; the first run of another one leaves out none.
    """
    if not forms:
        return set()
    runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
    state = runs.state()
    if state.modelled_to is None or state.deployment != deployment:
        return set()
    with transaction(dbt_connection(settings), "cht_sync models", "look for forms that arrived") as cursor:
        arrived = _arrived(cursor, settings, state.modelled_to)
    if arrived is None:
        return set()
    idle = {model for model, form in forms.items() if form not in arrived}
    log.info("%s of %s models of forms are left out: nothing of their form arrived.", len(idle), len(forms))
    return idle


def _arrived(cursor: Cursor, settings: Settings, modelled_to: datetime) -> Collection[str] | None:
    """What arrived since the last good run; None where that cannot be told."""
    schema = settings.dbt_schema
    told = {name: column for name, column in TOLD_BY.items() if relation_exists(cursor, schema, name)}
    models = {name: sql.Identifier(schema, name) for name in TOLD_BY}
    newest = {name: value_of(cursor, sql.SQL(_NEWEST).format(model=models[name])) for name in told}
    # Of a run that did not end well: what it took over is in another form's table by now, and may have been in any.
    if DATA_RECORD not in told or any(stamp and stamp > modelled_to for stamp in newest.values()):
        return None
    names = {"raw": sql.Identifier(settings.raw_table.schema, settings.raw_table.table), **models}
    given = {"since": modelled_to, "most": MOST_DOCUMENTS}
    if value_of(cursor, sql.SQL(_MANY).format(**names), given):
        return None
    found: list[str] = []
    for name, query, code in ((DATA_RECORD, _ARRIVED, str), (CONTACT, _ARRIVED_CONTACTS, contact_code)):
        if name in told:
            cursor.execute(sql.SQL(query).format(**names), given)
            found += [code(each) for (each,) in cursor.fetchall() if each]
            if newest[name] and not _keeps_progress(cursor, schema, name):
                again = sql.SQL(_WRITTEN_AGAIN).format(told=sql.Identifier(told[name]), model=models[name])
                cursor.execute(again, (newest[name],))
                found += [code(each) for (each,) in cursor.fetchall() if each]
    return {form_key(each) for each in found}


def _keeps_progress(cursor: Cursor, schema: str, model: str) -> bool:
    progress = sql.Identifier(schema, PROGRESS)
    return relation_exists(cursor, schema, PROGRESS) and bool(
        value_of(cursor, sql.SQL(_KEEPS_PROGRESS).format(progress=progress), (model,))
    )
