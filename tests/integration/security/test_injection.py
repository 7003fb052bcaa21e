"""Names and documents that would do harm if anything took them for more than text."""

from __future__ import annotations

import itertools
import json
from urllib.parse import quote, urlsplit

import pytest
import requests

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import SettingsError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.settings.connections import couchdb_connection, postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.integration.security.starter import run_models
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)

HOSTILE = [
    "'; drop table v1.couchdb; --",
    '"; drop table v1.couchdb; --',
    "$$; drop schema v1 cascade; $$",
    "\\'; select pg_sleep(9); --",
    "\\.",
    "\\N",
    "\\x00\\u0000",
    "a\tb,c;d\"e''f",
    "line\nbreak\r\nsecond",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\u001b[31mred\u001b[0m",
    "%s %(source)s %n {0} {schema} {} %%",
    "{{ 1/0 }}{% raw %}{# #}",
    "${jndi:ldap://x/a} `id` $(id)",
    "\u202egnp.exe \ufeff\u2028\u0085 子 😀 é",
    "../../etc/passwd",
    "]]>",
    "COPY t FROM PROGRAM 'id'",
]
SECRET = "Amina Okafor, HIV positive"


@pytest.fixture
def couch(couchdb_server, database, monkeypatch):
    """A CouchDB database and the variables that name its server; gives its address."""
    for variable, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(urlsplit(couchdb_server.url).port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(variable, value)

    def make(name):
        url = f"{couchdb_server.url}/{quote(name, safe='')}"
        requests.put(url, auth=couchdb_server.auth, timeout=10).raise_for_status()
        return url, couchdb_server.auth

    return make


def write(couch, documents):
    url, auth = couch
    answer = requests.post(f"{url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE, auth=auth, timeout=30)
    answer.raise_for_status()
    assert all("rev" in each for each in answer.json())


def test_hostile_documents_are_stored_as_they_are_and_not_logged(couch, database, tmp_path, capfd, caplog):
    caplog.set_level("DEBUG")
    url, auth = address = couch(mine(f"hostile-{next(_numbers)}"))
    write(
        address,
        [
            {"_id": f"{number} {text}", "type": "person", "name": text, text: {"deep": [text, SECRET]}, "nul": "a\0b"}
            for number, text in enumerate(HOSTILE)
        ],
    )
    before = database.tables()
    summary = CouchDBToPostgresOperator(task_id="sync", database=url.rpartition("/")[2]).execute({})
    assert summary["documents"] == len(HOSTILE)
    rows = requests.get(f"{url}/_all_docs", params={"include_docs": "true"}, auth=auth, timeout=30).json()["rows"]
    wanted = {row["id"]: {**row["doc"], "nul": "ab"} for row in rows}
    assert dict(database.rows("select _id, doc from v1.couchdb")) == wanted
    run_models(tmp_path, "v1")
    names = dict(database.rows("select uuid, name from v1.contact"))
    assert names == {name: document["name"] for name, document in wanted.items()}
    made = {table for table in database.tables() - before if not table.startswith("v1.")}
    assert made == set()
    said = caplog.text + "".join(capfd.readouterr()) + json.dumps(summary, default=str)
    assert SECRET not in said
    for text in HOSTILE[:6]:
        assert text not in said


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_sources_are_names_and_nothing_else(store, database, text):
    source = f"host/{text}"
    store.claim(source)
    store.save(source, page_of({"_id": "a"}, last_seq=text), None)
    assert store.checkpoint(source) == text
    assert database.rows("select source from v1.couchdb") == [(source,)]
    assert database.rows("select source, seq from v1.couchdb_progress") == [(source, text)]


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ('"; drop schema public cascade; --', "'; drop table x; --"),
        ("a.b", 'c"d'),
        ("back\\slash", "{schema} {0}"),
        ("{{ 1/0 }}", "$$;select 1;$$"),
        ("子😀", "Ünï cödé"),
        ("select", "table"),
        ("public.x", "couchdb' || pg_sleep(5) || '"),
    ],
)
def test_hostile_schemas_and_tables_are_quoted(database, schema, table):
    with DocumentStore(postgres_connection(), RawTable(schema, table)) as store:
        assert store.prepare()
        assert store.prepare() == []
        store.claim("s")
        store.save("s", page_of({"_id": "a"}), None)
    schemas = {
        name for (name,) in database.rows("select nspname from pg_namespace where nspname !~ '^pg_(toast|temp)'")
    }
    assert schemas == {schema, "public", "pg_catalog", "information_schema"}
    assert database.value("select count(*) from pg_tables where schemaname = %s and tablename = %s", schema, table) == 1


@pytest.mark.parametrize("value", ["100%s", "a\nb", "a\0b", "\u001b[31m", "x" * 64])
def test_names_that_the_driver_cannot_quote_are_refused(value):
    for name in ("POSTGRES_SCHEMA", "POSTGRES_TABLE", "DBT_POSTGRES_SCHEMA"):
        with pytest.raises(SettingsError, match=name) as caught:
            Settings({name: value}).check()
        assert caught.value.args[0].isprintable()


@pytest.mark.parametrize("name", ["no; drop", '"x"', "../_all_dbs", "a/../b", "%2e%2e", "x?limit=1", "x#y", "子"])
def test_a_database_name_cannot_leave_its_place_in_the_address(couch, database, name):
    with pytest.raises(SettingsError) as caught:
        CouchDBToPostgresOperator(task_id="sync", database=name).execute({})
    assert str(caught.value).isprintable()
    assert database.tables() == set()


def test_every_character_that_couchdb_takes_in_a_name_works(couch, database):
    name = mine(f"a0_$()+-/{next(_numbers)}")
    write(couch(name), [{"_id": "a"}])
    assert CouchDBToPostgresOperator(task_id="sync", database=name).execute({})["source"] == f"127.0.0.1/{name}"


@pytest.mark.parametrize("field", ["instance", "databases"])
@pytest.mark.parametrize(
    "value",
    [
        "{{ 1/0 }}",
        "{{ var.value.get('x') }}",
        "{% for x in y %}",
        "{# c #}",
        "north\n[ERROR] forged",
        "a\u001b[2J",
        "a\0b",
    ],
)
def test_names_in_an_extra_can_be_neither_templates_nor_lines_of_a_log(monkeypatch, field, value):
    extra = {field: [value] if field == "databases" else value}
    fields = {"conn_type": "http", "host": "127.0.0.1", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(fields))
    monkeypatch.setenv("COUCHDB_DBS", "medic")
    for ask in (couchdb_connection, configured_sources, lambda: CouchDBHook().instance):
        with pytest.raises(SettingsError) as caught:
            ask()
        assert str(caught.value).isprintable()
        assert f"{field} " in str(caught.value)
        assert "'cht_couchdb'" in str(caught.value)


def test_usual_names_in_an_extra_are_taken(monkeypatch):
    extra = {"instance": "Région nord (子) {x} 100%", "databases": "medic,\n medic-sentinel"}
    fields = {"conn_type": "http", "host": "127.0.0.1", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(fields))
    assert [each["source"] for each in configured_sources()] == [
        f"{extra['instance']}/medic",
        f"{extra['instance']}/medic-sentinel",
    ]
