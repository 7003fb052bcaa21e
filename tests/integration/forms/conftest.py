"""A catalogue in a database of its own, and form documents in the CouchDB-protocol server."""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from cht_sync.couchdb.sources import configured_sources
from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.definition_table import FormDocument
from cht_sync.forms.read_definitions import DefinitionReader
from cht_sync.forms.statistics import Counter
from cht_sync.forms.xform import read_xform
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.servers import EVERYWHERE, mine

_numbers = itertools.count(1)
NAMES = Names("v1", "couchdb")
HOSTILE = ['user"; drop table v1.form; --', "{code}", "%s", "'", "数据😀", "x" * 180, "a\\b", "{{ 1 }}"]


def xform(*fields, version="1", title="A form", choices=""):
    """An XForm whose fields are paths such as ``a/b int``; a path with an asterisk is a repeat."""
    tree, repeats, binds, controls = {}, [], [], []
    for each in fields:
        path, _, declared = each.partition(" ")
        node, names = tree, []
        for name in path.split("/"):
            names.append(name.rstrip("*"))
            if name.endswith("*"):
                repeats.append("/".join(names))
            node = node.setdefault(names[-1], {})
        address = f"/data/{'/'.join(names)}"
        binds.append(f'<bind nodeset="{address}" type="{declared or "string"}"/>')
        controls.append(f'<input ref="{address}"><label>What is {names[-1]}?</label></input>')
    listed = "".join(f'<repeat nodeset="/data/{each}"/>' for each in dict.fromkeys(repeats))
    return (
        '<h:html xmlns="http://www.w3.org/2002/xforms" xmlns:h="http://www.w3.org/1999/xhtml"><h:head>'
        f'<h:title>{title}</h:title><model><instance><data id="x" version="{version}">{_elements(tree)}</data></instance>'
        f"{''.join(binds)}</model></h:head><h:body>{''.join(controls)}{listed}</h:body></h:html>"
    ).encode()


def store_definition(keeper, code, content):
    """Has a form defined by an XForm, without a CouchDB."""
    document = FormDocument("h/d", f"form:{code}", code, "1-x", hashlib.sha256(content).hexdigest())
    with keeper.session.transaction("store a definition") as cursor:
        changed = keeper.catalogue.definitions.store(cursor, document, read_xform(code, content))
        keeper.catalogue.rebuild(cursor, changed)


def _elements(tree):
    return "".join(f"<{name}>{_elements(below)}</{name}>" for name, below in tree.items())


class FormCouch:
    """One database of the server."""

    def __init__(self, server):
        self.name = mine(f"forms-{next(_numbers)}-{secrets.token_hex(3)}")
        self.source = f"127.0.0.1/{self.name}"
        self.session = requests.Session()
        self.session.auth = server.auth
        self.url = f"{server.url}/{self.name}"
        assert self.session.put(self.url).ok

    def write(self, *documents):
        answer = self.session.post(f"{self.url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE)
        answer.raise_for_status()

    def define(self, code, content, attachment="xml", **more):
        """Puts a form document, or a new revision of it."""
        before = self.session.get(f"{self.url}/form:{code}")
        stubs = {attachment: {"content_type": "application/xml", "data": base64.b64encode(content).decode()}}
        rev = {"_rev": before.json()["_rev"]} if before.ok else {}
        document = {"_id": f"form:{code}", "type": "form", "internalId": code, "_attachments": stubs, **rev, **more}
        self.session.put(f"{self.url}/form:{code}", json=document).raise_for_status()

    def delete(self, name):
        rev = self.session.get(f"{self.url}/{name}").json()["_rev"]
        self.session.delete(f"{self.url}/{name}", params={"rev": rev}).raise_for_status()

    def copy(self):
        CouchDBToPostgresOperator(task_id="sync", database=self.name, source=self.source).execute({})


class Keeper:
    """The catalogue as the task keeps it."""

    def __init__(self, session):
        self.session = session
        self.catalogue = Catalogue(NAMES)

    def read(self, seconds=60, **options):
        return DefinitionReader(self.session, NAMES, configured_sources()).read(time.monotonic() + seconds, **options)

    def count(self, seconds=60):
        return Counter(self.session, NAMES).count(time.monotonic() + seconds)

    def forms(self):
        with self.session.transaction("read forms") as cursor:
            return {each.code: each for each in self.catalogue.read(cursor)}


@pytest.fixture
def keeper(database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
    with closing(PatientSession(postgres_connection(), "test forms", tolerance=1)) as session:
        yield Keeper(session)


@pytest.fixture
def new_couch(couchdb_server, database, monkeypatch):
    """Makes a database of the server, and has the settings name all that were made."""
    address = urlsplit(couchdb_server.url)
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(address.port))
    monkeypatch.setenv("COUCHDB_USER", couchdb_server.user)
    monkeypatch.setenv("COUCHDB_PASSWORD", couchdb_server.password)
    made = []

    def make():
        made.append(FormCouch(couchdb_server))
        monkeypatch.setenv("COUCHDB_DBS", ",".join(each.name for each in made))
        return made[-1]

    return make


@pytest.fixture
def save(database):
    """Stores documents as a run of the copy does."""
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim("h/d")

        def write(*documents):
            store.save("h/d", page_of(*documents), store.checkpoint("h/d"))

        yield write
