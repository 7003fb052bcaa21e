"""Whether row security leaves the role of the models any document to read."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import regclass_text
from cht_sync.settings.settings import RawTable

# Without a policy there are no rows, and no error. One that shows some of them is meant so.
# Source: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
_HIDDEN = """
select current_user from pg_class c
where c.oid = to_regclass(%s) and row_security_active(c.oid) and not exists (
    select from pg_policy p cross join lateral unnest(p.polroles) as one
    where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*') and (one = 0 or pg_has_role(one, 'usage'))
)
"""


def require_seen(cursor: Cursor, raw: RawTable) -> None:
    """Refuses to model nothing, where row security hides every document from the role."""
    for table in (raw.table, "couchdb_collision"):
        cursor.execute(_HIDDEN, (regclass_text(raw.schema, table),))
        if found := cursor.fetchone():
            place = f"{raw.schema}.{table}"
            raise SettingsError(
                f"Row security of {place} shows role {found[0]!r} no document, so the models would be empty or old: say"
                f" `create policy models on {place} for select to {found[0]} using (true)`, or disable it."
            )
