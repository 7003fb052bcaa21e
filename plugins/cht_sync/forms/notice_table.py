"""The table ``form_notice``: what deployments have changed in the tables of forms."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2.extensions import cursor as Cursor

from cht_sync.forms.notices import FormNotice
from cht_sync.postgres.query import Names

# What was said of a form last is not said again, such as that it has no table.
_ADD = """
insert into {schema}.form_notice (code, deployment, notice)
select %(code)s, %(deployment)s, %(notice)s
where %(notice)s is distinct from (
    select notice from {schema}.form_notice where code = %(code)s order by id desc limit 1
)
returning id
"""
_NEWEST = "select distinct on (code) code, notice from {schema}.form_notice order by code, id desc"


class NoticeTable:
    """Within the transactions of others.

    :param schema: of the table of documents.
    """

    def __init__(self, schema: str) -> None:
        self._names = Names(schema)

    def add(self, cursor: Cursor, deployment: str, notices: Iterable[FormNotice]) -> None:
        """Remembers what a deployment has changed."""
        for each in notices:
            values = {"code": each.code, "deployment": deployment, "notice": each.text}
            self._names.execute(cursor, _ADD, values)

    def newest(self, cursor: Cursor) -> dict[str, str]:
        """The newest notice of each form that has one."""
        return dict(self._names.execute(cursor, _NEWEST).fetchall())
