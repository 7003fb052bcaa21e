"""What Airflow imports in every process costs nothing there."""

import re
import subprocess
import sys
from typing import get_args

from airflow import plugins_manager

from cht_sync.monitoring.state import MOST, State
from cht_sync.settings.settings import REPOSITORY

_LOOK = """
import sys
import airflow.plugins_manager
before = set(sys.modules)
import cht_sync_plugin
print(sorted(set(sys.modules) - before))
"""


def test_airflow_finds_the_plugin_and_nothing_else():
    plugins, errors = plugins_manager._load_plugins_from_plugin_directory(str(REPOSITORY / "plugins"))
    assert errors == {}
    (plugin,) = plugins
    assert plugin.name == "cht_sync"
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == "/cht-sync"
    (view,) = plugin.external_views
    assert (view["name"], view["href"], view["destination"]) == ("CHT Sync", "cht-sync/", "nav")
    static = REPOSITORY / "plugins" / "cht_sync" / "monitoring" / "web" / "static"
    assert all((static / view[icon].rpartition("/")[2]).exists() for icon in ("icon", "icon_dark_mode"))


def test_the_page_is_not_loaded_before_it_is_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], env={"PYTHONPATH": str(REPOSITORY / "plugins")}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "['cht_sync_plugin']"


def test_nothing_in_the_page_is_inline_or_from_elsewhere():
    """The policy forbids it: it would silently not work."""
    static = REPOSITORY / "plugins" / "cht_sync" / "monitoring" / "web" / "static"
    page = (static / "status.html").read_text()
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script type="module" src="static/status.js">') == 1
    for file in static.iterdir():
        addresses = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in addresses
        assert "https://" not in addresses
        assert "innerHTML" not in addresses


def test_each_state_has_a_shape_and_a_word_of_its_own():
    """A colour-blind reader tells them apart."""
    script = (REPOSITORY / "plugins" / "cht_sync" / "monitoring" / "web" / "static" / "elements.js").read_text()
    drawn = re.findall(r'^  (\w+): \{ word: "([^"]+)", path: "([^"]+)"', script, re.M)
    states, words, shapes = zip(*drawn, strict=True)
    assert set(states) == set(get_args(State))
    assert len(set(words)) == len(set(shapes)) == len(states)
    assert int(re.search(r"const MOST = ([\d_]+);", script)[1]) == MOST
    style = (REPOSITORY / "plugins" / "cht_sync" / "monitoring" / "web" / "static" / "status.css").read_text()
    assert set(re.findall(r"^\.is-(\w+) \{", style, re.M)) == set(states)
