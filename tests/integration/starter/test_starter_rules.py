"""Rules that a team has put on tables of the starter, which PostgreSQL takes no `on conflict` for."""

from __future__ import annotations

import pytest
from starter_documents import person, report
from starter_warehouse import Warehouse

pytestmark = pytest.mark.integration

RULES = """
create table v1.audit (what text, uuid text);
create rule added as on insert to v1.person do also insert into v1.audit values ('added', new.uuid);
create rule gone as on delete to v1.person do also insert into v1.audit values ('gone', old.uuid);
create rule added as on insert to v1.data_record do also insert into v1.audit values ('added', new.uuid);
create rule edited as on update to v1.data_record do also insert into v1.audit values ('edited', old.uuid);
create rule quiet as on update to v1.contact do also notify contacts;
alter table v1.contact disable rule quiet;
"""


def test_the_models_end_as_without_rules_and_each_rule_is_told_of_each_row_once(warehouse: Warehouse) -> None:
    """Also of a new row, although rules on inserts run when it is there."""
    warehouse.save(person("a"), person("b"), report("c"), report("d"))
    warehouse.run()
    warehouse.execute(RULES)
    warehouse.save(person("a", name="Other"), person("e"), report("c", form="other"), report("f"))
    warehouse.delete("d")
    warehouse.run()
    assert warehouse.ids("person") == {"a", "b", "e"}
    assert set(warehouse.rows("select uuid, form from data_record")) == {("c", "other"), ("f", "pregnancy")}
    assert warehouse.column("select name from contact") == {"Other", "Person b", "Person e"}
    assert sorted(warehouse.rows("select what, uuid from v1.audit")) == [
        ("added", "e"),
        ("added", "f"),
        ("edited", "c"),
    ]
