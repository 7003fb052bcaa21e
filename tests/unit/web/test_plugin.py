"""What Airflow imports in every process costs nothing there."""

import subprocess
import sys

from airflow import plugins_manager

from cht_sync.settings import REPOSITORY

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
    static = REPOSITORY / "plugins" / "cht_sync" / "web" / "static"
    assert all((static / view[icon].rpartition("/")[2]).exists() for icon in ("icon", "icon_dark_mode"))


def test_the_page_is_not_loaded_before_it_is_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], env={"PYTHONPATH": str(REPOSITORY / "plugins")}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "['cht_sync_plugin']"


def test_nothing_in_the_page_is_inline_or_from_elsewhere():
    """The policy forbids it: it would silently not work."""
    static = REPOSITORY / "plugins" / "cht_sync" / "web" / "static"
    page = (static / "status.html").read_text()
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script type="module" src="static/status.js">') == 1
    for file in static.iterdir():
        addresses = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in addresses
        assert "https://" not in addresses
        assert "innerHTML" not in addresses
