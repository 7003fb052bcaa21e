"""Models of teams upon the starter, each written in its own way: keys, documents, changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starter_documents import person, report
from starter_warehouse import DATABASE, DBT, Warehouse, failures, make_project, set_environment

from tests.documented import blocks

pytestmark = pytest.mark.integration

ROWS = """
select {columns}, data_record.saved_timestamp
from {{{{ ref('data_record') }}}} as data_record
inner join {{{{ cht_starter.raw() }}}} as raw on raw._id = data_record.uuid and raw._deleted is not true
cross join lateral jsonb_array_elements_text(
  case when jsonb_typeof(raw.doc -> 'visits') = 'array' then raw.doc -> 'visits' else '[]' end
) with ordinality as visit (at, position)
where true {{{{ cht_starter.and_new('data_record') }}}}
"""
PLAIN = "visit.position::int as position, data_record.uuid, visit.at"
MODELS = {
    "position_first": ("unique_key=['position', 'uuid']", PLAIN),
    "uuid_first": ("unique_key=['uuid', 'position']", PLAIN),
    "of_one_column": ("unique_key='id'", "data_record.uuid || ' ' || visit.position as id, " + PLAIN),
    "by_what_changes": ("unique_key=['at', 'uuid', 'position']", PLAIN),
    "other_name": (
        "unique_key=['position', 'report_id']",
        "visit.position::int as position, data_record.uuid as report_id, visit.at",
    ),
}
VISITS = "select {}, position, at from {} order by 1, 2"


def config(key: str, more: str = "", document: str = "") -> str:
    """The line that begins a model."""
    meta = "{'follows': ['data_record']" + (f", 'document': '{document}'" if document else "") + "}"
    return f"{{{{ config({key}, meta={meta}{more}) }}}}\n"


def example(name: str) -> str:
    """A file of the starter's README."""
    (text,) = (block.text for block in blocks(DBT / "starter" / "README.md") if block.file == name)
    return text


class Team(Warehouse):
    """A warehouse whose project is a package of a team."""

    package: Path
    told: list[str]

    def write(self, name: str, text: str) -> None:
        """Write a model."""
        (self.package / "models").mkdir(exist_ok=True)
        (self.package / "models" / f"{name}.sql").write_text(text)

    def again(self, *arguments: str) -> Any:
        """A run with the files as they are now; what it warns of is in `told`."""
        self.told = []

        def note(event: Any) -> None:
            if event.info.level in {"warn", "error"}:
                self.told.append(event.info.msg)

        select = ("--select", "document_metadata", "data_record", "package:our_models")
        return self.dbt("run", *arguments, *select, parse=True, callbacks=[note])

    def run_again(self, *arguments: str) -> None:
        """The same, which has to succeed."""
        result = self.again(*arguments)
        assert result.success, failures(result)


@pytest.fixture
def team(dbt_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Team]]:
    """Makes the warehouse, with models by name."""
    environment = set_environment(monkeypatch, dbt_server)
    package = tmp_path / "team"
    (package / "macros").mkdir(parents=True)
    (package / "dbt_project.yml").write_text(example("dbt_project.yml"))
    (package / "macros" / "upsert.sql").write_text(example("macros/upsert.sql"))
    (package / "packages.yml").write_text(f"packages:\n  - local: {DBT / 'starter'}\n")
    (package / "models").mkdir()
    made: list[Team] = []

    def make(**models: str) -> Team:
        team = Team(dbt_server.dsn(DATABASE), make_project(tmp_path / "project", package), environment)
        made.append(team)
        team.package = package
        team.create()
        for name, text in models.items():
            team.write(name, text)
        return team

    yield make
    for one in made:
        with closing(one):
            pass


def visits(uuid: str, *at: str, **more: Any) -> dict[str, Any]:
    """A report with visits."""
    return report(uuid, visits=list(at), **more)


def test_rows_go_whatever_the_key(team: Callable[..., Team]) -> None:
    """Without a contract, so without a foreign key: what is edited, deleted or of another kind leaves no row."""
    models = {
        name: config(key, document="report_id" if name == "other_name" else "") + ROWS.format(columns=columns)
        for name, (key, columns) in MODELS.items()
    }
    warehouse = team(**models)

    def assert_rows(*expected: tuple[str, int, str]) -> None:
        for name in models:
            column = "report_id" if name == "other_name" else "uuid"
            assert warehouse.rows(VISITS.format(column, name)) == list(expected), name

    warehouse.save(visits("a", "1", "2"), visits("b", "3"), visits("c", "4"), visits("d", "5"))
    warehouse.run_again()
    assert_rows(("a", 1, "1"), ("a", 2, "2"), ("b", 1, "3"), ("c", 1, "4"), ("d", 1, "5"))
    warehouse.save(visits("a", "6"), person("c"))
    warehouse.delete("b")
    warehouse.run_again()
    assert_rows(("a", 1, "6"), ("d", 1, "5"))
    warehouse.save(visits("a"), visits("e", "7", "7"))
    warehouse.delete("d")
    warehouse.run_again()
    assert_rows(("e", 1, "7"), ("e", 2, "7"))


def test_a_model_that_does_not_say_whose_its_rows_are(team: Callable[..., Team]) -> None:
    """It is refused by name; one whose only key is the document's id is not."""
    nameless = ROWS.format(columns="visit.position::int as position, visit.at")
    warehouse = team(
        nameless=config("unique_key='at'") + nameless,
        of_two=config("unique_key=['at', 'position']") + nameless,
        only_key=config("unique_key='report'") + ROWS.format(columns="data_record.uuid as report, visit.at"),
        follows_nothing="{{ config(unique_key='uuid') }} select uuid from {{ ref('data_record') }}",
    )
    warehouse.save(visits("a", "1"))
    warehouse.run_again()
    warehouse.save(visits("a", "2"))
    result = warehouse.again()
    failed = {one.node.name: one.message for one in result.result.results if str(one.status) == "error"}
    assert set(failed) == {"nameless", "of_two"}
    assert all("does not say of which document a row is" in message for message in failed.values())
    assert warehouse.rows("select report, at from only_key") == [("a", "2")]
    assert any("follows_nothing keeps the rows of documents that were deleted" in line for line in warehouse.told)


@pytest.mark.parametrize("how", ["append_new_columns", "sync_all_columns", "ignore", "fail"])
def test_a_changed_model_has_its_history_or_says_that_it_has_not(team: Callable[..., Team], how: str) -> None:
    """A new column, and another value in one that is there."""
    key = config("unique_key=['position', 'uuid']", f", on_schema_change='{how}'")
    warehouse = team(visit=key + ROWS.format(columns=PLAIN))
    warehouse.save(visits("a", "1"), visits("b", "2"))
    warehouse.run_again()
    warehouse.run_again()
    warehouse.write("visit", key + ROWS.format(columns=PLAIN.replace("visit.at", "'at ' || visit.at as at")))
    warehouse.run_again()
    assert warehouse.rows("select uuid, at from visit order by 1") == [("a", "at 1"), ("b", "at 2")]
    warehouse.write("visit", key + ROWS.format(columns=PLAIN + ", data_record.form"))
    result = warehouse.again()
    if how == "fail":
        assert not result.success
        assert "schema" in failures(result)
        return
    assert result.success, failures(result)
    if how == "ignore":
        assert any("visit selects form, which its table has not" in line for line in warehouse.told)
    else:
        assert warehouse.rows("select uuid, at, form from visit order by 1") == [
            ("a", "1", "pregnancy"), ("b", "2", "pregnancy")
        ]  # fmt: skip
        assert not warehouse.told
        before = warehouse.rows("select xmin::text from visit order by uuid")
        warehouse.run_again()
        warehouse.run_again()
        assert warehouse.rows("select xmin::text from visit order by uuid") == before


def test_another_type_is_told_with_the_remedy(team: Callable[..., Team]) -> None:
    """Not as an operator that does not exist; the remedy works."""
    key = config("unique_key='uuid'")
    text = "select data_record.uuid, data_record.saved_timestamp, {} as at from {{{{ ref('data_record') }}}} as data_record where true {{{{ cht_starter.and_new('data_record') }}}}"
    warehouse = team(visit=key + text.format("'2024-01-01'::text"))
    warehouse.save(report("a"))
    warehouse.run_again()
    warehouse.write("visit", key + text.format("'2024-01-01'::date"))
    result = warehouse.again()
    assert not result.success
    assert "visit.at is text in the table and date in the model: trigger cht_pipeline_deploy" in failures(result)
    warehouse.run_again("--full-refresh")
    assert warehouse.rows("select uuid, at::text from visit") == [("a", "2024-01-01")]
