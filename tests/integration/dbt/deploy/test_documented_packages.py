"""The dbt code that pages show, deployed and run as it is printed: file by file, with no word changed."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
from psycopg2.extras import Json

from cht_sync.settings.settings import REPOSITORY, Settings
from include.demo.generator import generate
from tests.documented import PAGES, blocks
from tests.integration.dbt.deploy.test_deploy import Deploy

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PACKAGES = sorted({block.page for page in PAGES for block in blocks(page) if block.is_dbt})
STARTER_PAGE = REPOSITORY / "include" / "dbt" / "starter" / "README.md"
VISITS = """
{{ config(unique_key=['position', 'uuid'], meta={'follows': ['data_record']}) }}
select visit.position::int as position, data_record.uuid, data_record.saved_timestamp, visit.value ->> 'at' as at
from {{ ref('data_record') }} as data_record
inner join {{ cht_starter.raw() }} as raw on raw._id = data_record.uuid and raw._deleted is not true
cross join lateral jsonb_array_elements(raw.doc -> 'visits') with ordinality as visit (value, position)
where jsonb_typeof(raw.doc -> 'visits') = 'array' {{ cht_starter.and_new('data_record') }}
"""


def printed(page, folder):
    """Writes the files that a page prints into a folder.

    :param page: the page.
    :param folder: where to.
    """
    for block in blocks(page):
        if block.is_dbt:
            assert block.file, f"{block.place}: no file is named before this block of dbt code, so no test can run it"
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    assert (folder / "dbt_project.yml").is_file(), f"{page} prints dbt code but no dbt_project.yml: no test can run it"
    return folder


class Team:
    """A team with a folder of its own, and a database with its documents."""

    def __init__(self, folder, database, store):
        self.folder, self.database, self.do_deploy = folder, database, Deploy(Settings())
        self._store = store

    def save(self, *documents, deleted=()):
        statement = (
            "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)"
            " values (clock_timestamp() at time zone 'utc', %s, %s, 'h/medic', %s) on conflict (_id) do update"
            " set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted, doc = excluded.doc"
        )
        with closing(psycopg2.connect(self.database.dsn)) as conn, conn, conn.cursor() as cursor:
            for document in documents:
                cursor.execute(statement, (document["_id"], False, Json(document)))
            for uuid in deleted:
                cursor.execute(statement, (uuid, True, Json({"_id": uuid, "_rev": "2-x", "_deleted": True})))

    def change(self, file, *pairs):
        path = self.folder / file
        text = path.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    def rows(self, query):
        return sorted(self.database.rows(query))


def report(uuid, date="2024-01-01", **more):
    fields = {"gestational_age": {"lmp_date": date}}
    return {"_id": uuid, "type": "data_record", "form": "pregnancy", "fields": fields, **more}


@pytest.fixture
def team(database, store, tmp_path, monkeypatch, request):
    page = getattr(request, "param", STARTER_PAGE)
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("DBT_LOCAL_PATH", str(printed(page, tmp_path / "our_models")))
    monkeypatch.delenv("CHT_PIPELINE_BRANCH_URL", raising=False)
    return Team(tmp_path / "our_models", database, store)


@pytest.mark.parametrize("team", PACKAGES, indirect=True, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_a_page_prints_is_deployed_and_finds_what_reports_of_the_demo_hold(team):
    team.save(*(doc for _, doc in generate(600) if doc.get("type") == "data_record"))
    assert team.do_deploy()
    team.do_deploy.run_models()
    names = [path.stem for path in (team.folder / "models").glob("*.sql")]
    assert names
    for name in names:
        filled = (
            "select key, count(*) filter (where value is not null) from v1.{} as row, jsonb_each_text(to_jsonb(row))"
        )
        columns = dict(team.database.rows(filled.format(name) + " group by key"))
        assert columns, f"{name} has no row"
        assert not [column for column, values in columns.items() if not values], f"no report fills a column of {name}"


def test_the_life_of_a_team_package(team):
    """Edits, deletes, a change of columns, of a type, of a key: as if it had been built from scratch each time."""
    everything = [report(uuid) for uuid in ("kept", "deleted", "other-form", "retyped")]
    team.save(*everything)
    assert team.do_deploy()
    team.do_deploy.run_models()
    pregnancy = "select uuid, lmp_date::text from v1.pregnancy"
    assert team.rows(pregnancy) == sorted((one["_id"], "2024-01-01") for one in everything)
    team.save(
        report("kept", "2024-02-02"),
        report("other-form", form="visit"),
        {"_id": "retyped", "type": "person"},
        deleted=["deleted"],
    )
    team.do_deploy.run_models()
    assert team.rows(pregnancy) == [("kept", "2024-02-02")]

    # A column more, another type, and a model with several rows for a report.
    team.save(report("second", "2024-03-03", visits=[{"at": "1"}, {"at": "2"}]), report("gone", visits=[{"at": "9"}]))
    team.do_deploy.run_models()
    team.change(
        "models/pregnancy.sql",
        (
            "raw.doc #>> '{fields,gestational_age,lmp_date}' as lmp_date",
            "(raw.doc #>> '{fields,gestational_age,lmp_date}')::date as lmp_date, data_record.form",
        ),
    )
    team.change(
        "models/pregnancy.yml",
        (
            "name: lmp_date\n        data_type: string",
            "name: lmp_date\n        data_type: date\n      - {name: form, data_type: string}",
        ),
    )
    (team.folder / "models" / "visit.sql").write_text(VISITS)
    assert team.do_deploy()
    assert {one["model"] for one in team.do_deploy.planned} == {"pregnancy", "visit"}
    team.do_deploy.run_models()
    forms = "select uuid, lmp_date::text, form from v1.pregnancy"
    assert team.rows(forms) == [
        ("gone", "2024-01-01", "pregnancy"), ("kept", "2024-02-02", "pregnancy"), ("second", "2024-03-03", "pregnancy")
    ]  # fmt: skip
    visits = "select uuid, position, at from v1.visit"
    assert team.rows(visits) == [("gone", 1, "9"), ("second", 1, "1"), ("second", 2, "2")]

    team.save(report("second", visits=[{"at": "3"}]), report("new", visits=[{"at": "4"}]), deleted=["gone"])
    team.do_deploy.run_models()
    assert team.rows(visits) == [("new", 1, "4"), ("second", 1, "3")]
    team.save({"_id": "second", "type": "person"}, report("new", form="other", visits=[]))
    team.do_deploy.run_models()
    assert team.rows(visits) == []


def test_new_models_before_any_model_has_run(team):
    """A version follows another one on a database where no table of a model is: nothing is missed."""
    assert team.do_deploy()
    (team.folder / "models" / "visit.sql").write_text(VISITS)
    team.change(
        "models/pregnancy.sql", ("data_record.form = 'pregnancy'", "data_record.form in ('pregnancy', 'delivery')")
    )
    assert team.do_deploy()
    assert team.do_deploy.planned == []
    team.save(report("a", form="delivery", visits=[{"at": "1"}]))
    team.do_deploy.run_models()
    assert team.rows("select uuid from v1.pregnancy") == [("a",)]
    assert team.rows("select uuid, at from v1.visit") == [("a", "1")]


def test_a_parent_that_no_run_has_made_is_built_with_what_reads_it(team):
    """Tables are there, one that a changed model reads from now on is not."""
    team.save(report("a", visits=[{"at": "1"}]))
    assert team.do_deploy()
    team.do_deploy.run_models()
    team.database.rows("drop table v1.telemetry cascade")
    team.change(
        "models/pregnancy.sql",
        ("where\n", "where not exists (select from {{ ref('telemetry') }} as t where t.uuid = raw._id) and\n"),
    )
    assert team.do_deploy()
    assert {one["model"] for one in team.do_deploy.planned} >= {"pregnancy", "telemetry"}
    assert team.rows("select uuid from v1.pregnancy") == [("a",)]
    assert team.rows("select count(*) from v1.telemetry") == [(0,)]
