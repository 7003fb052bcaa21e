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
DATA_RECORD, CONTACT = "data_record", "contact"
# What a model writes again although nothing came is what has the stamp of its newest row.
_NEWEST = "select max(saved_timestamp) from {model}"
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
    raw = sql.Identifier(settings.raw_table.schema, settings.raw_table.table)
    models = {name: sql.Identifier(settings.dbt_schema, name) for name in (DATA_RECORD, CONTACT)}
    there = {name: model for name, model in models.items() if relation_exists(cursor, settings.dbt_schema, name)}
    newest = [value_of(cursor, sql.SQL(_NEWEST).format(model=model)) for model in there.values()]
    stamps = [stamp for stamp in newest if stamp]
    # Of a run that did not end well: what it took over is in another form's table by now, and may have been in any.
    if DATA_RECORD not in there or not stamps or max(stamps) > modelled_to:
        return None
    names, given = {"raw": raw, **models}, {"since": min(stamps), "most": MOST_DOCUMENTS}
    if value_of(cursor, sql.SQL(_MANY).format(**names), given):
        return None
    cursor.execute(sql.SQL(_ARRIVED).format(**names), given)
    codes = [form for (form,) in cursor.fetchall() if form]
    if CONTACT in there:
        cursor.execute(sql.SQL(_ARRIVED_CONTACTS).format(**names), given)
        codes += [contact_code(contact_type) for (contact_type,) in cursor.fetchall() if contact_type]
    return {form_key(code) for code in codes}
