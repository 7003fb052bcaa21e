"""The recipe of the demo's CouchDB server."""

import json
from pathlib import Path

import pytest

from include.demo import npm
from include.demo.errors import DemoError


def test_lock_file_fits_the_recipe_and_names_no_registry() -> None:
    recipe, lock = (json.loads((npm.RECIPE / name).read_text()) for name in npm.RECIPE_FILES)
    assert lock["packages"][""]["dependencies"] == recipe["dependencies"]
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all("resolved" not in entry for entry in packages.values())
    assert all("integrity" in entry for entry in packages.values())


def test_unreachable_registry_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(npm.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(DemoError, match="npm_config_registry"):
        npm.installed_modules()
    assert not list(tmp_path.glob("installing-*"))
