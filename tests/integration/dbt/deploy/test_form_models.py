"""Tables of forms through deployments and runs: real dbt, real Postgres."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from cht_sync.dbt.deploy import deploy as deploy_module
from cht_sync.dbt.deploy import look as look_module
from cht_sync.dbt.deploy.active_version import expected_version
from cht_sync.dbt.run.idle_forms import idle_forms
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.contact_form import with_contact_forms
from cht_sync.forms.definition import Choice, FormDefinition, FormField
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.hierarchy import BUILT_IN
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from tests.integration.dbt.deploy.test_deploy import Deploy

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PREGNANCY = CatalogueForm(
    "pregnancy",
    "report",
    FormDefinition(
        "pregnancy",
        "Pregnancy {{ registration }}",
        "1",
        (
            FormField(("lmp_date",), "date", {"en": 'Last "period" {{ nobody }}'}),
            FormField(("danger", "signs"), "select", choices=(Choice("fever"), Choice("bleeding"))),
            FormField(("kids", "age"), "int", repeat=("kids",)),
        ),
        (("kids",),),
    ),
)
CLINIC = CatalogueForm(
    "contact:clinic:create",
    "contact",
    FormDefinition(
        "contact:clinic:create",
        "Household",
        "1",
        (FormField(("inputs", "x")), FormField(("clinic", "rooms"), "int"), FormField(("clinic", "geolocation"))),
    ),
)
PERSON = CatalogueForm(
    "contact:person:create",
    "contact",
    FormDefinition("contact:person:create", "Person", "1", (FormField(("person", "sex")), FormField(("init", "y")))),
)
CONTACTS = with_contact_forms([CLINIC, PERSON], BUILT_IN)
VISIT = CatalogueForm("visit", "report", FormDefinition("visit", "Visit", "1", (FormField(("note",)),)))


@pytest.fixture
def settings(database, store, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path / "pipeline"))
    return Settings()


@pytest.fixture
def forms(monkeypatch):
    """The forms of the catalogue, to be changed by the test."""
    listed = []
    for module in (look_module, deploy_module):
        monkeypatch.setattr(module, "wanted_forms", lambda settings: FormModels(list(listed)))
    monkeypatch.setattr(deploy_module, "prepared_forms", lambda settings: FormModels(list(listed)))
    return listed


@pytest.fixture
def sql(database):
    with closing(psycopg2.connect(database.dsn)) as conn:
        conn.autocommit = True

        def ask(query, *values):
            with conn.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else None

        yield ask


def put(sql, uuid, form, fields, deleted=False):
    put_document(sql, {"_id": uuid, "type": "data_record", "form": form, "fields": fields}, deleted)


def put_contact(sql, uuid, contact_type, above=(), **fields):
    parent = None
    for each in reversed(above):
        parent = {"_id": each, **({"parent": parent} if parent else {})}
    put_document(sql, {"_id": uuid, "type": contact_type, "name": uuid, "parent": parent, "muted": True, **fields})


def put_document(sql, doc, deleted=False):
    doc = {**doc, "reported_date": 1_700_000_000_000}
    sql(
        "insert into v1.couchdb values (clock_timestamp() at time zone 'utc', %s, %s, 'h/medic', %s) on conflict (_id)"
        " do update set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted, doc = excluded.doc",
        doc["_id"],
        deleted,
        json.dumps(doc),
    )


def put_contacts(sql):
    put_contact(sql, "c1", "clinic", ("h1", "d1"), rooms="3", geolocation={"latitude": 1.5}, contact={"_id": "p1"})
    put_contact(sql, "p1", "person", ("c1", "h1", "d1"), sex=["f"])
    put_contact(sql, "p2", "person", ("d1",), sex="m")


def contacts(sql, schema):
    """Both tables of contacts, and what they could not take."""
    levels = "health_center_uuid, district_hospital_uuid"
    clinics = f"select uuid, {levels}, contact_uuid, rooms, geolocation__latitude::text from {schema}.contact_clinic"
    people = f"select uuid, parent_uuid, clinic_uuid, {levels}, name, sex from {schema}.contact_person"
    rejects = f"select field, value from {schema}.document_rejects where field ~ '^contact_[a-z]+: '"
    return [sql(f"{query} order by 1") for query in (clinics, people, rejects)]


def test_forms_come_change_and_go(settings, forms, sql):
    deploy = Deploy(settings)
    put(sql, "r1", "pregnancy", {"lmp_date": "2024-02-29", "danger": {"signs": "fever"}, "kids": [{"age": "3"}, {}]})
    put(sql, "r2", "pregnancy", {"lmp_date": "unknown", "extra": "x"})
    put(sql, "r3", "visit", {"note": "hello"})
    put_contacts(sql)
    deploy()
    deploy.run_models()
    schema = settings.dbt_schema
    assert deploy() is None

    forms += [PREGNANCY, VISIT, *CONTACTS]
    assert deploy(), "forms are a reason to deploy"
    models = {"form_pregnancy", "form_pregnancy__kids", "form_visit", "contact_clinic", "contact_person"}
    assert {one["model"] for one in deploy.planned} == models
    told = "select notice from v1.form_notice order by id desc limit 1"
    assert sql("select code, notice from v1.form_notice order by code") == [
        ("contact:clinic:create", "form contact:clinic:create: new, in contact_clinic"),
        ("contact:person:create", "form contact:person:create: new, in contact_person"),
        ("pregnancy", "form pregnancy: new, in form_pregnancy, form_pregnancy__kids"),
        ("visit", "form visit: new, in form_visit"),
    ]
    rows = sql(f"select uuid, lmp_date::text, danger__signs, rejected from {schema}.form_pregnancy order by uuid")
    assert rows == [
        ("r1", "2024-02-29", ["fever"], None),
        ("r2", None, None, {"extra": ["x", "no field of the form"], "lmp_date": ["unknown", "not a date"]}),
    ]
    assert sql(f"select uuid, position, age from {schema}.form_pregnancy__kids") == [("r1", 1, 3)]
    assert deploy() is None

    deploy.run_models()
    listed = f"select field, value from {schema}.document_rejects where field like 'form%%' order by field"
    assert sql(listed) == [("form_pregnancy: extra", "x"), ("form_pregnancy: lmp_date", "unknown")]
    assert contacts(sql, schema) == [
        [("c1", "h1", "d1", "p1", 3, "1.5")],
        [("p1", "c1", "c1", "h1", "d1", "p1", None), ("p2", "d1", None, None, "d1", "p2", "m")],
        [("contact_person: sex", '["f"]')],
    ]

    put(sql, "r1", "pregnancy", {"lmp_date": "2024-03-01", "kids": [{"age": "four"}]})
    put(sql, "r2", "visit", {"note": "changed its form"})
    # One moves, one is of another type.
    put_contact(sql, "p2", "person", ("c9", "h9", "d9"), sex="m")
    put_contact(sql, "p1", "clinic", ("h9", "d9"), rooms="many")
    deploy.run_models()
    moved = [("p2", "c9", "c9", "h9", "d9", "p2", "m")]
    assert contacts(sql, schema) == [
        [("c1", "h1", "d1", "p1", 3, "1.5"), ("p1", "h9", "d9", None, None, None)],
        moved,
        [("contact_clinic: rooms", "many")],
    ]
    assert sql(f"select uuid, lmp_date::text from {schema}.form_pregnancy") == [("r1", "2024-03-01")]
    assert sql(f"select uuid, position, age from {schema}.form_pregnancy__kids") == [("r1", 1, None)]
    assert sql(f"select uuid, note from {schema}.form_visit order by uuid") == [
        ("r2", "changed its form"),
        ("r3", "hello"),
    ]
    assert sql(listed) == [("form_pregnancy__kids: kids.1.age", "four")]

    # A value that is no date, and a field more: the column is text, and has its value.
    changed = replace(PREGNANCY.definition, fields=(*PREGNANCY.definition.fields, FormField(("extra",))))
    forms[0] = replace(PREGNANCY, definition=changed, failing={("lmp_date",): {"date": 1}}, filled={("lmp_date",): 4})
    put(sql, "r4", "pregnancy", {"lmp_date": "unknown", "extra": "y"})
    assert deploy()
    assert [one["model"] for one in deploy.planned] == ["form_pregnancy"]
    assert sql(told) == [
        ("form pregnancy: 1 new field (extra), `lmp_date` is text now, as 25 % of its values are no date",)
    ]
    deploy.run_models()
    assert sql(f"select uuid, lmp_date, extra from {schema}.form_pregnancy order by uuid") == [
        ("r1", "2024-03-01", None),
        ("r4", "unknown", "y"),
    ]
    assert sql(listed) == [("form_pregnancy__kids: kids.1.age", "four")]

    put(sql, "r1", "pregnancy", {}, deleted=True)
    put_document(sql, {"_id": "c1", "type": "clinic"}, deleted=True)
    put_document(sql, {"_id": "p1", "type": "no contact"})
    deploy.run_models()
    assert sql(f"select count(*) from {schema}.form_pregnancy__kids") == [(0,)]
    assert sql(listed) == []
    assert contacts(sql, schema) == [[], moved, []]


def test_only_forms_that_arrived_are_run(settings, forms, sql):
    deploy = Deploy(settings)
    forms += [PREGNANCY, VISIT]
    for number in range(3):
        put(sql, f"p{number}", "pregnancy", {})
    put(sql, "v1", "visit", {})
    put_contact(sql, "m1", "person")
    deploy()
    deploy.run_models()
    models = {"a": "pregnancy", "b": "visit", "c": "contact:clinic", "d": "contact:person"}
    assert idle_forms(settings, models, expected_version(settings)) == set(), "nothing is known of a run yet"

    def ran():
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        runs.record(runs.state().newest, expected_version(settings))

    ran()
    put(sql, "p4", "pregnancy", {})
    # The newest documents of the last run are looked at once more: others may have their stamp.
    assert idle_forms(settings, models, expected_version(settings)) <= {"b", "c", "d"}
    deploy.run_models()
    ran()
    assert idle_forms(settings, models, expected_version(settings)) == {"b", "c", "d"}
    put_contact(sql, "m1", "clinic")
    assert idle_forms(settings, models, expected_version(settings)) == {"b"}, "it leaves the table of its old type"
    put(sql, "p4", "visit", {})
    assert idle_forms(settings, models, expected_version(settings)) == set(), (
        "it has to leave the table of the form that it had"
    )
