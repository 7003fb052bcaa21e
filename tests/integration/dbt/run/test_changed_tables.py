"""Tables that people changed by hand: a model does not add to one, and says what is different and what mends it."""

from __future__ import annotations

import pytest

from cht_sync.dbt.tables.model_results import ModelResults
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def contact(id, **fields):
    return {"_id": id, "type": "contact", "name": id, "reported_date": 1_700_000_000_000, **fields}


@pytest.fixture
def told(models, database):
    """The message of each model that did not run, after people have changed a table."""

    def change(statement, built=True):
        models.save(contact("c1"), {"_id": "r1", "type": "data_record"})
        assert set(models.run().status.values()) == {"success"}
        if not built:
            database.rows("delete from v1.couchdb_built_model")
        database.rows(statement)
        models.save(contact("c2"), {"_id": "r2", "type": "data_record"})
        told = models.run()
        failing = ModelResults(postgres_connection(), RawTable("v1", "couchdb"), "v1").failing()
        told.messages = {one.name: one.message for one in failing.values()}
        return told

    return change


@pytest.mark.parametrize("built", [True, False], ids=["built", "declared"])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("alter table v1.contact drop name", "column name: expected text, found none"),
        ("alter table v1.contact alter reported type text", "column reported: expected timestamp with time zone, found text"),
        (
            "alter table v1.contact rename name to full_name; alter table v1.contact alter full_name set not null",
            "column name: expected text, found none; column full_name: expected none, found text",
        ),
        ("alter table v1.contact add since date not null default now(); alter table v1.contact alter since drop default",
         "column since: expected none, found date"),
        ("drop table v1.contact cascade; create view v1.contact as select * from v1.document_metadata", "expected a table, found a view"),
    ],
)  # fmt: skip
def test_a_changed_table_is_told_and_left_alone(told, models, statement, said, built):
    result = told(statement, built)
    assert result.status["contact"] == "error"
    assert result.status["person"] == "skipped"
    assert result.status["data_record"] == "success"
    assert result.modelled_to is None
    message = result.messages["contact"].replace("TEXT", "text")
    assert said in message
    assert 'Trigger the DAG cht_pipeline_deploy with the param full_refresh: ["contact"]' in message
    # The next run tries it first, and says the same.
    assert models.run().status == result.status


@pytest.mark.parametrize("rule", ["insert to v1.contact where new.uuid = 'c2' do instead nothing",
    "delete to v1.contact do instead update v1.contact set name = 'gone' where uuid = old.uuid"])  # fmt: skip
def test_a_rule_that_does_something_else_than_the_model_is_named(told, database, models, rule):
    result = told(f"create rule soft as on {rule}")
    assert (result.status["contact"], result.status["person"]) == ("error", "skipped")
    assert result.messages["contact"].startswith(
        "Rule soft on v1.contact does something else instead of what the model writes"
    )
    database.rows("drop rule soft on v1.contact")
    assert models.run().status["contact"] == "success"
    assert models.ids("contact") == {"c1", "c2"}


def test_what_is_mended_runs_again_and_misses_nothing(told, models, database):
    told("alter table v1.contact alter reported type text")
    database.rows("alter table v1.contact alter reported type timestamptz using reported::timestamptz")
    again = models.run()
    assert set(again.status.values()) == {"success"}
    assert again.modelled_to == again.newest
    assert models.ids("contact") == {"c1", "c2"}


@pytest.mark.parametrize(
    ("statement", "logged"),
    [
        ("alter table v1.contact add remark text", "v1.contact has a column remark that no model builds"),
        ("drop table v1.contact cascade", "v1.contact does not exist any more: dbt creates it now"),
        ("alter table v1.contact alter name set storage external, alter reported set not null", ""),
        ("drop table v1.calendar; create view v1.calendar as select 2 as day", ""),
    ],
)
def test_what_dbt_can_live_with_is_no_failure(told, models, database, caplog, statement, logged):
    assert set(told(statement).status.values()) == {"success"}
    assert models.ids("contact") == {"c1", "c2"}
    assert logged in caplog.text
    known = database.value("select columns from v1.couchdb_built_model where relation = 'contact'")
    assert sorted(known) == ["name", "reported", "saved_timestamp", "uuid"], "what people added is not the model's"


def test_what_reads_a_changed_table_does_not_run(told, database):
    result = told("alter table v1.document_metadata drop doc_type cascade")
    assert result.status.pop("calendar") == "success"
    assert result.status.pop("document_metadata") == "error"
    assert set(result.status.values()) == {"skipped"}
    assert "column doc_type: expected text, found none" in result.messages["document_metadata"]
    assert database.value("select count(*) from v1.couchdb_model_result where status = 'error'") == 1


def test_a_table_of_an_older_release_is_known_after_its_first_run(models, database):
    models.save(contact("c1"))
    database.rows("drop table v1.couchdb_built_model")
    assert set(models.run().status.values()) == {"success"}
