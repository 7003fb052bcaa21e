"""Row security that hides from the role of the models what it has to see."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from cht_sync.dbt.project.lineage import Kept
from cht_sync.dbt.run.row_security import require_seen
from cht_sync.dbt.run.table_columns import complaint, read_tables
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import RawTable

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")
WRITER = """
do $$ begin
  if to_regrole('of_models') is null then create role of_models; end if;
end $$;
grant usage on schema v1 to of_models;
grant select on v1.couchdb to of_models;
create table v1.person (uuid text);
alter table v1.person owner to of_models;
"""


@pytest.fixture
def cursor(store, database):
    database.rows(WRITER)
    with closing(psycopg2.connect(database.dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        cursor.execute("set role of_models")
        yield cursor
    database.rows("drop owned by of_models")


def test_documents_that_nobody_may_see_are_not_taken_for_none(cursor, database):
    require_seen(cursor, RAW)
    database.rows(
        "alter table v1.couchdb enable row level security; create policy one on v1.couchdb for update to public"
    )
    with pytest.raises(SettingsError, match="Row security of v1.couchdb shows role 'of_models' no document"):
        require_seen(cursor, RAW)
    # What somebody means to hide is hidden.
    database.rows("create policy most on v1.couchdb for select to of_models using (_id <> 'secret')")
    require_seen(cursor, RAW)


def test_a_model_that_does_not_see_all_of_its_rows_is_named(cursor, database):
    person = Kept("person", ("v1", "person"), {}, "ignore", False)
    found = read_tables(cursor, [person.place])
    assert complaint(person, found[person.place], None, {}) == ""
    database.rows("alter table v1.person enable row level security")
    assert complaint(person, read_tables(cursor, [person.place])[person.place], None, {}) == ""
    database.rows("alter table v1.person force row level security")
    said = complaint(person, read_tables(cursor, [person.place])[person.place], None, {})
    assert said.startswith("Row security of v1.person holds for the role of the models too")
