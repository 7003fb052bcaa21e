"""Several sources in one table: settings of each server, and the two documents of a user, whoever owns the row."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starter_documents import CONTACTS, contact, person, place, settings
from starter_warehouse import DATABASE, Warehouse, failures

from cht_sync.dashboards.bundle import assets
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
NORTH, SOUTH = "north.org/medic", "south.org/medic"
MEDIC, USERS = "couch.org/medic", "couch.org/_users"
MODELS = (*CONTACTS, "document_rejects", "data_record", "user")
SELECT = ("--select", *MODELS)
Doc = dict[str, Any]


class Feeds:
    """Writes documents of several sources as their feeds bring them, by a session of its own."""

    def __init__(self) -> None:
        self.store = DocumentStore(postgres_connection(), RawTable("v1", "couchdb"))
        self.store.prepare()
        self._seqs: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def write(self, source: str, *documents: Doc) -> None:
        since = self._seqs.get(source)
        self._seqs[source] = f"{int(since or 0) + 1}"
        revised = [{"_rev": f"{next(self._numbers)}-a", **document} for document in documents]
        self.store.save(source, page_of(*revised, last_seq=self._seqs[source]), since)

    def delete(self, source: str, *ids: str) -> None:
        self.write(source, *({"_id": name, "_deleted": True} for name in ids))


@pytest.fixture
def feeds(warehouse: Warehouse) -> Iterator[Feeds]:
    feeds = Feeds()
    with feeds.store:
        yield feeds


@pytest.fixture
def modelled(warehouse: Warehouse) -> Callable[[], None]:
    """Runs the models, and proves that a comparison of everything would change nothing."""

    def run() -> None:
        warehouse.run(*SELECT)
        before = contents(warehouse)
        warehouse.run("--full-refresh", *SELECT)
        assert contents(warehouse) == before

    return run


def contents(warehouse: Warehouse) -> dict[str, set[Any]]:
    """Every row of every model, as text."""
    return {model: warehouse.column(f'select m::text from "{model}" m') for model in MODELS}


def beside(warehouse: Warehouse) -> set[str]:
    """The sources that have a document in couchdb_collision."""
    return warehouse.column("select source from couchdb_collision")


# --- contact types -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [NORTH, SOUTH])
def test_each_server_has_its_own_contact_types(
    warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None], first: str
) -> None:
    """A type that one server alone has, and one that means a person here and a place there."""
    types = {
        NORTH: settings({"id": "chw", "person": True}, {"id": "unit", "person": True}),
        SOUTH: settings({"id": "nurse", "person": True}, {"id": "unit"}),
    }
    for source in (first, *({NORTH, SOUTH} - {first})):
        feeds.write(source, types[source])
    feeds.write(NORTH, *(contact(f"n-{kind}", kind, patient_id="1") for kind in ("chw", "nurse", "unit")), person("n"))
    feeds.write(SOUTH, *(contact(f"s-{kind}", kind, patient_id="2") for kind in ("chw", "nurse", "unit")), place("s"))
    modelled()
    assert beside(warehouse) == {NORTH, SOUTH} - {first}
    assert warehouse.ids("person") == warehouse.ids("patient") | {"n"} == {"n-chw", "n-unit", "s-nurse", "n"}
    assert warehouse.ids("place") == {"s-unit", "s"}
    # What a type is to the other server is no answer: these are neither.
    unknown = {"n-nurse", "s-chw"}
    assert warehouse.ids("contact") == warehouse.ids("person") | warehouse.ids("place") | unknown
    assert warehouse.column("select uuid from document_rejects where field = 'contact_type'") == unknown
    (registrations,) = (each["sql"] for name, each in assets().items() if name.endswith("/cht_registrations.yaml"))
    kinds = dict(warehouse.rows(f"select uuid, kind from ({registrations}) as registrations"))
    assert {uuid for uuid, kind in kinds.items() if kind == "Persons"} == warehouse.ids("person")
    # One row an id, as dashboards join it; where servers differ it is that of the settings in the raw table.
    assert warehouse.rows("select * from contact_type order by id") == [
        ("chw", True, True),
        ("clinic", False, False),
        ("nurse", True, True),
        ("person", True, False),
        ("unit", first == NORTH, True),
    ]


def test_settings_that_lie_in_collision_reach_the_models(
    warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None]
) -> None:
    """Changed, deleted, made again, and moved to the raw table and back, though no raw document changes with them."""
    feeds.write(NORTH, settings({"id": "chw", "person": True}))
    feeds.write(SOUTH, settings({"id": "nurse"}))
    feeds.write(SOUTH, contact("nurse", "nurse"), contact("chw", "chw"))
    feeds.write(NORTH, contact("north", "chw"))
    modelled()
    assert (warehouse.ids("person"), warehouse.ids("place")) == ({"north"}, {"nurse"})

    feeds.write(SOUTH, settings({"id": "nurse", "person": True}))
    warehouse.run(*SELECT)
    assert (warehouse.ids("person"), warehouse.ids("place")) == ({"north", "nurse"}, set())
    modelled()

    # Settings that are deleted say nothing: what the other server knows of a type is better than nothing.
    feeds.delete(SOUTH, "settings")
    modelled()
    assert (warehouse.ids("person"), warehouse.ids("place")) == ({"north", "chw"}, set())

    feeds.write(SOUTH, settings({"id": "nurse", "person": True}))
    feeds.delete(NORTH, "settings")
    modelled()
    assert warehouse.value("select source from couchdb where _id = 'settings'") == SOUTH
    assert (warehouse.ids("person"), warehouse.ids("place")) == ({"nurse"}, set())

    feeds.write(NORTH, settings({"id": "chw", "person": True}))
    modelled()
    assert beside(warehouse) == {NORTH}
    assert (warehouse.ids("person"), warehouse.ids("place")) == ({"north", "nurse"}, set())


def test_malformed_settings_of_the_other_server_are_listed(
    warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None]
) -> None:
    """Until they are mended, with the source named; so are those of the first at the same place."""
    feeds.write(NORTH, settings({"id": ""}))
    feeds.write(SOUTH, settings({"id": "a", "person": "maybe"}, {"id": ""}))
    modelled()
    query = "select field, instance from document_rejects order by field"
    assert warehouse.rows(query) == [
        ("contact_types[0].id", "north.org"),
        (f"contact_types[0].person of {SOUTH}", "south.org"),
        (f"contact_types[1].id of {SOUTH}", "south.org"),
    ]
    feeds.write(SOUTH, {"_id": "settings", "settings": {"contact_types": "text"}})
    modelled()
    assert warehouse.rows(query) == [
        (f"contact_types of {SOUTH}", "south.org"),
        ("contact_types[0].id", "north.org"),
    ]
    feeds.write(SOUTH, settings({"id": "a"}))
    warehouse.run(*SELECT)
    assert warehouse.rows(query) == [("contact_types[0].id", "north.org")]
    feeds.delete(NORTH, "settings")
    modelled()
    assert warehouse.rows(query) == []


# --- users ---------------------------------------------------------------------------------------


def user_settings(name: str, **more: Any) -> Doc:
    """What the CHT keeps of a user in `medic`."""
    doc = {"_id": f"org.couchdb.user:{name}", "type": "user-settings", "name": name, "facility_id": f"place-{name}"}
    return {**doc, "language": "sw", "roles": ["chw"], **more}


def login(name: str, **more: Any) -> Doc:
    """What CouchDB keeps of a user in `_users`."""
    return {"_id": f"org.couchdb.user:{name}", "type": "user", "name": name, "roles": ["chw"], **more}


def users(warehouse: Warehouse) -> dict[str, tuple[Any, ...]]:
    """The rows of `user` by name: contact, language, roles."""
    rows = warehouse.rows('select user_id, contact_uuid, language, roles from "user"')
    return {name.removeprefix("org.couchdb.user:"): tuple(rest) for name, *rest in rows}


ADA = ("place-ada", "sw", '["chw"]')


@pytest.mark.parametrize("order", list(itertools.permutations([MEDIC, USERS])))
def test_a_user_has_a_row_whichever_database_comes_first(
    warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None], order: tuple[str, str]
) -> None:
    """Settings and login are joined; a login without settings is no user of the CHT, settings without a login are."""
    brought = {
        MEDIC: [user_settings("ada"), user_settings("bo", roles=None), user_settings("no-login")],
        USERS: [login("ada", roles=["other"]), login("bo", contact_id="x", roles=["nurse"]), login("no-settings")],
    }
    for source in order:
        feeds.write(source, *brought[source])
        modelled()
    assert beside(warehouse) == {order[1]}
    assert users(warehouse) == {
        "ada": ADA,
        "bo": ("place-bo", "sw", '["nurse"]'),
        "no-login": ("place-no-login", "sw", '["chw"]'),
    }
    before = contents(warehouse)["user"]
    # A newer login is no other row, but a newer stamp where it is the one beside.
    feeds.write(USERS, login("ada", roles=["other"], known=True))
    modelled()
    assert users(warehouse)["ada"] == ADA
    assert contents(warehouse)["user"] != before


def test_settings_of_a_user_in_collision_reach_the_model(
    warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None]
) -> None:
    """Edited, deleted, made again, and moved to the raw table and back."""
    feeds.write(USERS, login("ada"), login("bo"))
    feeds.write(MEDIC, user_settings("ada"), user_settings("bo"))
    modelled()
    assert set(users(warehouse)) == {"ada", "bo"}

    stamp = warehouse.value("select saved_timestamp from \"user\" where user_id = 'org.couchdb.user:ada'")
    feeds.write(MEDIC, user_settings("ada", language="en", contact_id="c"))
    warehouse.run(*SELECT)
    assert users(warehouse)["ada"] == ("c", "en", '["chw"]')
    assert warehouse.value("select saved_timestamp from \"user\" where user_id = 'org.couchdb.user:ada'") > stamp
    modelled()

    feeds.delete(MEDIC, "org.couchdb.user:ada")
    warehouse.run(*SELECT)
    assert set(users(warehouse)) == {"bo"}
    modelled()

    feeds.write(MEDIC, user_settings("ada"))
    modelled()
    assert users(warehouse)["ada"] == ADA

    # To the raw table, where the login was; and the login comes back beside it.
    feeds.delete(USERS, "org.couchdb.user:ada")
    modelled()
    assert warehouse.value("select source from couchdb where _id like '%:ada'") == MEDIC
    assert users(warehouse)["ada"] == ADA
    feeds.write(USERS, login("ada"))
    modelled()
    assert users(warehouse)["ada"] == ADA

    # And once more beside the login, which then is deleted, too.
    feeds.delete(MEDIC, "org.couchdb.user:ada")
    modelled()
    assert warehouse.value("select source from couchdb where _id like '%:ada'") == USERS
    assert set(users(warehouse)) == {"bo"}
    feeds.delete(USERS, "org.couchdb.user:ada", "org.couchdb.user:bo")
    modelled()
    assert set(users(warehouse)) == {"bo"}
    feeds.delete(MEDIC, "org.couchdb.user:bo")
    modelled()
    assert users(warehouse) == {}


def test_the_same_user_on_two_servers(warehouse: Warehouse, feeds: Feeds, modelled: Callable[[], None]) -> None:
    """The row is that of the server whose document is in the raw table, its login as well."""
    feeds.write("south.org/_users", login("ada", roles=["south"]))
    feeds.write("north.org/_users", login("ada", roles=["north"]))
    feeds.write(NORTH, user_settings("ada", language="north", roles=None))
    feeds.write(SOUTH, user_settings("ada", language="south", roles=None))
    modelled()
    assert users(warehouse) == {"ada": ("place-ada", "south", '["south"]')}
    feeds.delete(SOUTH, "org.couchdb.user:ada")
    modelled()
    assert users(warehouse) == {"ada": ("place-ada", "north", '["north"]')}


def test_both_databases_at_once_while_the_models_run(warehouse: Warehouse, feeds: Feeds) -> None:
    """Whoever wins each row, every user is in the table at last, and no row is ever lost on the way."""
    names = [f"u{n}" for n in range(60)]
    done = threading.Event()
    broken: list[BaseException] = []

    def bring(source: str, make: Callable[..., Doc]) -> None:
        try:
            own = Feeds()
            with own.store:
                for number in range(4):
                    for name in names:
                        own.write(source, make(name, number=number))
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=bring, args=each) for each in ((MEDIC, user_settings), (USERS, login))]
    for thread in threads:
        thread.start()
    seen: set[str] = set()
    while any(thread.is_alive() for thread in threads) or not done.is_set():
        if not any(thread.is_alive() for thread in threads):
            done.set()  # and once more
        warehouse.run("--select", "document_metadata", "user")
        assert seen <= set(users(warehouse))
        seen = set(users(warehouse))
    assert broken == []
    assert users(warehouse) == {name: (f"place-{name}", "sw", '["chw"]') for name in names}
    assert beside(warehouse)


# --- who may read it -----------------------------------------------------------------------------


def test_nothing_new_writes_nothing(warehouse: Warehouse, feeds: Feeds) -> None:
    """Also where documents lie beside the table."""
    feeds.write(NORTH, settings({"id": "chw", "person": True}), contact("a", "chw"))
    feeds.write(SOUTH, settings({"id": ""}), contact("b", "chw"))
    feeds.write(USERS, login("ada"), login("none"))
    feeds.write(MEDIC, user_settings("ada"))
    warehouse.run(*SELECT)
    warehouse.run(*SELECT)
    versions = {model: warehouse.rows(f'select ctid::text, xmin::text from "{model}"') for model in MODELS}
    assert set(warehouse.run(*SELECT).values()) <= {0, None}
    assert {model: warehouse.rows(f'select ctid::text, xmin::text from "{model}"') for model in MODELS} == versions


def test_without_the_table_the_models_read_the_raw_one(warehouse: Warehouse) -> None:
    """As on a database of CHT Sync 2.x; the table may come later."""
    warehouse.save(settings({"id": "chw", "person": True}), contact("a", "chw"), user_settings("ada"))
    warehouse.run(*SELECT)
    assert warehouse.rows("select to_regclass('couchdb_collision')") == [(None,)]
    assert (warehouse.ids("person"), set(users(warehouse))) == ({"a"}, {"ada"})
    feeds = Feeds()
    with feeds.store:
        feeds.write(SOUTH, settings({"id": "nurse", "person": True}), contact("b", "nurse"), user_settings("ada"))
    warehouse.run(*SELECT)
    assert (warehouse.ids("person"), set(users(warehouse))) == ({"a", "b"}, {"ada"})


def test_a_role_that_may_not_read_the_table_is_told_so(warehouse: Warehouse, feeds: Feeds, dbt_server: Any) -> None:
    """The models go on with what it may read, and dbt warns with the remedy."""
    said: list[str] = []
    feeds.write(NORTH, settings({"id": "chw", "person": True}), contact("a", "chw"))
    feeds.write(SOUTH, settings({"id": "nurse", "person": True}), contact("b", "nurse"))
    warehouse.execute("drop role if exists poor_dbt")
    warehouse.execute("create role poor_dbt login password 'poor'")
    # Other tests of this server's database run the script of the roles, which takes these from PUBLIC.
    warehouse.execute(f"grant connect, temporary on database {DATABASE} to poor_dbt")
    warehouse.execute("grant all on schema v1 to poor_dbt")
    warehouse.execute("grant select on v1.couchdb to poor_dbt")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBT_POSTGRES_USER", "poor_dbt")
            patch.setenv("DBT_POSTGRES_PASSWORD", "poor")
            result = warehouse.dbt("run", *SELECT, callbacks=[lambda event: said.append(event.info.msg)])
        assert result.success, failures(result)
        assert warehouse.ids("person") == {"a"}
        assert any("grant select on it" in text and "couchdb_collision" in text for text in said)
    finally:
        warehouse.execute("drop owned by poor_dbt cascade")
        warehouse.execute("drop role poor_dbt")
