"""The status page in headless Chromium, inside Airflow's own UI and alone; a picture of each state is kept."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import expect, sync_playwright

from include.demo.errors import DemoError
from include.demo.npm import installed_modules
from include.demo.screenshot import OPTIONS, chromium
from tests.integration.monitoring.web.scenes import MEDIC, SECRET, SENTINEL, SOURCES
from tests.integration.monitoring.web.status_server import METRICS_TOKEN, OPERATOR, STRANGER, VIEWER

pytestmark = [pytest.mark.integration, pytest.mark.slow]
ARTEFACTS = Path(__file__).parents[3] / "artefacts"
GOOD = dict.fromkeys(SOURCES, "success")
PATHS = ["", "api/status", f"api/quarantine?source={MEDIC}", f"api/collisions?source={MEDIC}",
         "api/rejects?field=a&reason=b", "openapi.json"]  # fmt: skip
# Each state: what Airflow's database holds, and what the page says first.
STATES = {
    "healthy": ({"states": GOOD}, "Complete and fresh"),
    "first_load": ({"states": {**GOOD, MEDIC: "running"}}, "First load running: not complete yet"),
    "failing": ({"states": {**GOOD, SENTINEL: "failed"}}, f"Failing: {SENTINEL} is not copied"),
    "quarantine": ({"states": GOOD}, "Fresh, but documents are in quarantine"),
    "shrunk": ({"states": GOOD}, "Models blocked by the row-loss check"),
    "empty": ({"states": None}, "Nothing has been copied yet"),
    "paused": ({"states": GOOD, "paused": True, "due": timedelta(hours=-3)}, "Paused: nothing is copied"),
}


@pytest.fixture(scope="module")
def browser():
    try:
        program = chromium()
    except DemoError as error:
        if os.environ.get("REQUIRE_CHROMIUM"):
            raise
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """A window of the browser, signed in; it counts what goes wrong in the page."""

    def __init__(self, browser, server, user=OPERATOR, **options):
        self.server = server
        options = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "Africa/Nairobi", **options}
        self.context = browser.new_context(**options)
        if user:
            self.context.add_cookies([{"name": "_token", "value": server.token(user), "url": server.url}])
        self.page = self.context.new_page()
        self.errors, self.foreign = [], []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url):
        if not url.startswith((self.server.url, "data:")):
            self.foreign.append(url)

    def open(self, path="cht-sync/"):
        self.page.goto(f"{self.server.url}/{path}")
        return self.page

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.context.close()


def picture(page, name, whole=True):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"status-{name}.png", full_page=whole)


def serious_issues(page):
    """What axe-core holds against the page: rule and elements."""
    # The policy of the page lets no script in from elsewhere; the browser itself may.
    page.evaluate((installed_modules(Path(__file__).with_name("axe")) / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def scene(server, scenes, name):
    runs, _headline = STATES[name]
    getattr(scenes, "healthy" if name in {"failing", "paused"} else name)()
    server.set_runs(**runs)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_the_right(server, scenes, path):
    scenes.healthy()
    assert server.get(path, user=None).status_code == 401
    refused = server.get(path, user=STRANGER)
    assert refused.status_code == 403
    assert MEDIC not in refused.text
    assert server.get(path).status_code == 200


def test_ids_of_documents_are_for_who_may_see_them(server, scenes):
    """Airflow's simple auth manager knows no permission of its own for it: its viewers may not."""
    scenes.healthy()
    scenes.rows(
        "update v1.couchdb_model_result set documents_at_fault = '{named-after-a-person}' where model like '%contact'"
    )
    server.set_runs(states=dict.fromkeys(SOURCES, "success"))
    for path, given in (
        ("quarantine", {"source": MEDIC}), ("collisions", {"source": SENTINEL}), ("rejects", {"field": "f", "reason": "r"}),
    ):  # fmt: skip
        refused = server.get(f"api/{path}", user=VIEWER, **given)
        assert refused.status_code == 403
        assert refused.json()["detail"].startswith("Ids of documents are for those who may read the view")
        assert server.get(f"api/{path}", **given).status_code == 200
    seen, hidden = server.get("api/status"), server.get("api/status", user=VIEWER)
    assert "named-after-a-person" in seen.text
    assert "named-after-a-person" not in hidden.text
    assert (seen.json()["documents_visible"], hidden.json()["documents_visible"]) == (True, False)
    assert hidden.json()["verdict"]["headline"] == seen.json()["verdict"]["headline"]


def test_prometheus_gets_metrics_by_its_token_and_by_nothing_else(server, scenes):
    scenes.healthy()
    assert server.get("metrics", user=None).status_code == 401
    assert server.get("metrics", user=VIEWER).status_code == 401
    scraped = requests.get(
        f"{server.url}/cht-sync/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=30
    )
    assert scraped.status_code == 200
    assert 'couch2pg_up{cht_instance="couch.example.org",db="medic"} 1.0' in scraped.text


def test_a_connection_of_airflow_comes_before_the_environment(server, scenes, postgres_server):
    scenes.healthy()
    account = {"host": postgres_server.host, "port": postgres_server.port, "login": postgres_server.user}
    with server.connection(**account, password=postgres_server.password, schema="cht_nowhere"):
        message = server.get("api/status").json()["destination"]["message"]
    assert 'database "cht_nowhere" does not exist' in message
    assert postgres_server.password not in message
    assert server.get("api/status").json()["destination"]["reachable"]


@pytest.mark.parametrize("name", STATES)
def test_each_state(browser, server, scenes, name):
    scene(server, scenes, name)
    with Visit(browser, server) as visit:
        page = visit.open()
        expect(page.get_by_role("heading", level=1)).to_have_text(STATES[name][1])
        expect(page.get_by_role("article")).to_have_count(0 if name == "empty" else len(SOURCES))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            picture(page, f"{name}-{scheme}")
            assert serious_issues(page) == []
        # A colour-blind reader tells states by shape and word.
        for badge in page.locator(".badge").all():
            assert badge.locator("path").count() == 1
            assert badge.inner_text().strip()
        assert SECRET not in page.content()
        assert (visit.errors, visit.foreign) == ([], [])


def test_the_bar_of_a_first_load(browser, server, scenes):
    scene(server, scenes, "first_load")
    with Visit(browser, server) as visit:
        bar = visit.open().get_by_role("progressbar")
        expect(bar).to_have_attribute(
            "aria-label", re.compile(r"400,000 of 1,650,000 documents \(24.2 %\), about .* left")
        )
        assert bar.evaluate("bar => bar.value / bar.max") == pytest.approx(400 / 1650)


@pytest.mark.parametrize("name", ["shrunk", "first_load"])
def test_it_fits_a_phone(browser, server, scenes, name):
    scene(server, scenes, name)
    with Visit(browser, server, viewport={"width": 360, "height": 740}) as visit:
        page = visit.open()
        expect(page.get_by_role("article")).to_have_count(len(SOURCES))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        picture(page, f"{name}-phone")
        assert serious_issues(page) == []


def thirty(server, scenes):
    """Thirty sources: a server that is down, one database that is tried again, one with documents in quarantine."""
    names = scenes.many()
    down = names[::10]
    for name in down:
        scenes.fails(f"CouchDB at cht0.example.org:443 did not answer (connection refused), database {name[-8:]}: see"
                     " whether it runs, and what COUCHDB_HOST says.", name)  # fmt: skip
    states = {**dict.fromkeys(names, "success"), **dict.fromkeys(down, "failed"), names[7]: "up_for_retry"}
    server.set_runs(states=states, tried=[names[7]])
    return names, [*down, names[7]]


@pytest.mark.parametrize("width", [1280, 360])
def test_of_thirty_sources_those_that_fail_are_open_and_the_others_are_rows(browser, server, scenes, width):
    names, bad = thirty(server, scenes)
    with Visit(browser, server, viewport={"width": width, "height": 900}) as visit:
        page = visit.open()
        expect(page.get_by_role("heading", level=1)).to_have_text("Failing: 3 of 30 sources are not copied")
        expect(page.get_by_role("article")).to_have_count(len(bad))
        expect(page.locator("#quiet tr")).to_have_count(len(names) - len(bad))
        # One notice for each cause.
        expect(page.locator("#remarks li")).to_have_count(2)
        expect(page.get_by_role("article", name=bad[0], exact=True)).to_contain_text("see whether it runs")
        expect(page.get_by_role("article", name=bad[0], exact=True)).to_contain_text("unknown since")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            picture(page, f"thirty-{width}-{scheme}")
            assert serious_issues(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        name = page.get_by_role("button", name=names[1], exact=True)
        name.focus()
        page.keyboard.press("Enter")
        expect(name).to_have_attribute("aria-expanded", "true")
        expect(name).to_be_focused()
        expect(page.locator("#quiet .more")).to_contain_text("Rate of the newest run")
        picture(page, f"thirty-{width}-open")
        assert serious_issues(page) == []
        page.keyboard.press("Enter")
        expect(page.locator("#quiet .more")).to_have_count(0)
        assert (visit.errors, visit.foreign) == ([], [])


@pytest.mark.parametrize("table", ["couchdb_progress", "couchdb_model_result"])
def test_what_is_not_known_is_not_shown_as_a_number(browser, server, scenes, table):
    scene(server, scenes, "healthy")
    with scenes.locked(table), Visit(browser, server) as visit:
        page = visit.open()
        expect(page.get_by_role("heading", level=1)).to_have_text("Status unavailable: not everything could be read")
        expect(page.locator("#remarks")).to_contain_text("locked by nightly_vacuum (pid")
        if table == "couchdb_progress":
            expect(page.get_by_role("article", name=MEDIC, exact=True)).to_contain_text("Pending changesunknown")
        else:
            expect(page.locator("#groups")).to_contain_text("Results of the models are unavailable.")
        picture(page, f"locked-{table}")
        assert serious_issues(page) == []


def test_a_link_leads_to_the_list_that_is_meant(browser, server, scenes):
    scene(server, scenes, "quarantine")
    with Visit(browser, server) as visit:
        page = visit.open(f"cht-sync/#list=quarantine&source={quote(MEDIC, safe='')}")
        expect(page.get_by_role("dialog").locator("tbody tr")).to_have_count(50)


def test_moments_are_in_the_zone_that_was_chosen_in_airflow(browser, server, scenes):
    scene(server, scenes, "healthy")
    (drained,) = scenes.rows("select drained_at from v1.couchdb_progress where source = %s", MEDIC)[0]
    with Visit(browser, server) as visit:
        visit.page.add_init_script("localStorage.setItem('timezone', 'Asia/Tokyo')")
        page = visit.open()
        shown = page.get_by_role("article", name=MEDIC, exact=True).locator("time").first
        local = drained + timedelta(hours=9)
        expect(shown).to_contain_text(f"{local.hour % 12 or 12}:{local:%M}")
        expect(page.locator("#as-of")).to_contain_text("Asia/Tokyo")


def test_the_list_of_a_quarantine_by_keyboard_alone(browser, server, scenes):
    scene(server, scenes, "quarantine")
    with Visit(browser, server) as visit:
        page = visit.open()
        button = page.get_by_role("button", name=f"60 in quarantine: {MEDIC}")
        expect(button).to_be_visible()
        for _ in range(40):
            page.keyboard.press("Tab")
            if button.evaluate("button => button === document.activeElement"):
                break
        page.keyboard.press("Enter")
        rows = page.get_by_role("dialog").locator("tbody tr")
        expect(rows).to_have_count(50)
        expect(rows.first).to_contain_text("invalid input syntax for type json: … (SQLSTATE 22P02)")
        picture(page, "quarantine-list", whole=False)
        assert serious_issues(page) == []
        more = page.get_by_role("button", name="Show more")
        more.focus()
        page.keyboard.press("Enter")
        expect(rows).to_have_count(60)
        expect(more).to_be_hidden()
        assert SECRET not in page.content()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert button.evaluate("button => button === document.activeElement")
        assert visit.errors == []


@pytest.mark.parametrize(
    ("role", "name"),
    [("link", f"Log and retry: {SENTINEL}"), ("link", "Newest run: success"), ("button", f"60 in quarantine: {MEDIC}")],
)
def test_the_focus_stays_where_it_is_when_all_is_drawn_anew(browser, server, scenes, role, name):
    scene(server, scenes, "quarantine")
    with Visit(browser, server) as visit:
        page = visit.open()
        held = page.get_by_role(role, name=name)
        held.focus()
        held.evaluate("held => { held.dataset.old = 'yes' }")
        # Another source comes to stand first.
        server.set_runs(states={**GOOD, SENTINEL: "failed"} if role == "button" else GOOD)
        with page.expect_response("**/api/status"):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("[data-old]")).to_have_count(0)
        assert held.evaluate("held => held === document.activeElement")
        assert visit.errors == []


def test_moments_are_local_and_utc_is_behind_them(browser, server, scenes):
    scene(server, scenes, "healthy")
    (drained,) = scenes.rows("select drained_at from v1.couchdb_progress where source = %s", MEDIC)[0]
    with Visit(browser, server) as visit:
        shown = visit.open().get_by_role("article", name=MEDIC, exact=True).locator("time").first
        expect(shown).to_have_attribute("title", f"{drained:%Y-%m-%d %H:%M:%S} UTC")
        local = drained + timedelta(hours=3)  # Nairobi
        expect(shown).to_contain_text(f"{local.hour % 12 or 12}:{local:%M}")


def test_names_never_become_code(browser, server, scenes):
    scene(server, scenes, "healthy")
    evil = "<img src=x onerror=document.title='evil'>"
    for table in ("couchdb_progress", "couchdb_window"):
        scenes.rows(f"update v1.{table} set source = %s where source = %s", evil, MEDIC)
    with Visit(browser, server) as visit:
        page = visit.open()
        expect(page.get_by_role("heading", name=evil)).to_be_visible()
        assert page.locator("main img").count() == 0
        assert visit.errors == []


def test_inside_the_ui_of_airflow(browser, server, scenes):
    scene(server, scenes, "failing")
    with Visit(browser, server, viewport={"width": 1500, "height": 950}) as visit:
        visit.page.add_init_script("localStorage.getItem('theme') ?? localStorage.setItem('theme', 'dark')")
        page = visit.open("plugin/cht-sync")
        frame = page.frame_locator("iframe[title='CHT Sync']")
        expect(frame.get_by_role("heading", level=1)).to_have_text(STATES["failing"][1])
        expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.get_by_role("link", name="CHT Sync").first).to_be_visible()
        picture(page, "in-airflow")
        # Airflow's own theme wins over that of the system, and is followed when it changes.
        page.evaluate("document.documentElement.classList.replace('dark', 'light')")
        expect(frame.locator("html")).to_have_attribute("data-theme", "light")
        frame.get_by_role("link", name=f"Log and retry: {SENTINEL}").click()
        page.wait_for_url(re.compile(r"/dags/cht_sync/runs/[^/]+/tasks/sync/mapped/1"))
        assert not [url for url in visit.foreign if "cht-sync" in url]


def test_without_the_right_there_is_no_page(browser, server, scenes):
    scene(server, scenes, "healthy")
    for user, said in ((STRANGER, "Forbidden"), (None, "Not authenticated")):
        with Visit(browser, server, user) as visit:
            page = visit.open()
            assert MEDIC not in page.content()
            expect(page.get_by_role("article")).to_have_count(0)
            expect(page.locator("body")).to_contain_text(said)


def test_a_session_that_ends_while_the_page_is_open(browser, server, scenes):
    scene(server, scenes, "healthy")
    with Visit(browser, server) as visit:
        page = visit.open()
        expect(page.get_by_role("article")).to_have_count(len(SOURCES))
        visit.context.clear_cookies()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_role("alert")).to_contain_text(
            "You are signed out: sign in to Airflow again. What you see is old"
        )
