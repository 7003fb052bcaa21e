import json
import os
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cht_sync.dbt.deploy import install as module
from cht_sync.dbt.deploy.install import fresh_graph, install
from cht_sync.dbt.project.hub import StandInHub
from cht_sync.dbt.project.version import STARTER_GRAPH, installed, kept, require_current
from cht_sync.errors import SettingsError
from tests.integration.dbt.conftest import git, write_project

pytestmark = pytest.mark.integration


def test_a_folder_is_installed_once_until_it_changes(project, settings, monkeypatch):
    named = settings(DBT_LOCAL_PATH=str(project), POSTGRES_TABLE="docs")
    made = install(named)
    assert made == require_current(named)
    assert (made.models, made.stand_ins, made.source) == (2, [], str(project))
    assert {"manifest.json", "partial_parse.msgpack"} <= {path.name for path in (made.path / "target").iterdir()}
    assert (made.path / "packages.yml").read_text().split() == ["packages:", "-", "local:", "project"]
    assert set(json.loads(made.graph.read_text())["nodes"]) == {"model.little.one", "model.little.two"}

    monkeypatch.setattr(module, "build", lambda *_: pytest.fail("nothing changed"))
    assert install(named) == made
    monkeypatch.undo()

    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    (project / "models" / "two.sql").write_text("select {{ no_such_macro() }} from {{ ref('nowhere') }}")
    with pytest.raises(SettingsError, match="dbt parse says: .*nowhere"):
        install(named)
    assert installed(named) == made
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]


def test_hub_packages_are_replaced_where_no_model_uses_them(project, settings, caplog):
    packages = 'packages:\n  - package: dbt-labs/dbt_utils\n    version: [">=1.1.0", "<2.0.0"]\n'
    write_project(
        project, **{"packages.yml": packages, "macros__idle.sql": "{% macro idle() %}{{ dbt_utils.x() }}{% endmacro %}"}
    )
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "one")
    # A team's own project lists this one among its packages.
    team = project.parent / "team"
    listed = f"packages:\n  - git: file://{project}\n    revision: main\n"
    write_project(
        team, **{"dbt_project.yml": "name: team\nversion: 1.0.0\nprofile: cht_sync\n", "packages.yml": listed}
    )
    for name in ("one", "two"):
        (team / "models" / f"{name}.sql").unlink()
    (team / "models" / "three.sql").write_text("select * from {{ ref('two') }}")
    made = install(settings(DBT_LOCAL_PATH=str(team)))
    assert (made.models, made.stand_ins) == (3, ["dbt-labs/dbt_utils"])
    assert "dbt-labs/dbt_utils is replaced" in caplog.text

    (team / "models" / "three.sql").write_text("select {{ little.idle() if var('x', false) }} 1 as a")
    with pytest.raises(SettingsError, match="three needs the package dbt_utils from the dbt hub"):
        install(settings(DBT_LOCAL_PATH=str(team)))
    assert installed(settings()) == made


def test_stand_ins_go_once_the_hub_answers(project, settings, monkeypatch):
    built = []

    def quick(_, folder, *__):
        built.append(folder)
        (folder / "graph.json").write_text("{}")
        return 1, stand_ins

    monkeypatch.setattr(module, "build", quick)
    named = settings(DBT_LOCAL_PATH=str(project))
    stand_ins = ["dbt-labs/dbt_utils"]
    with_stand_ins = install(named)
    assert install(named) == with_stand_ins
    assert len(built) == 1

    with StandInHub(set()) as hub:
        monkeypatch.setenv("DBT_PACKAGE_HUB_URL", hub.url)
        # The hub went away again in between.
        assert install(named) == with_stand_ins
        stand_ins = []
        made = install(named)
        assert made.stand_ins == []
        assert installed(named) == made
        assert install(named) == made
    assert len(built) == 3


def test_a_tarball_and_how_versions_are_kept(project, settings, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "little.tar.gz", "w:gz") as archive:
        archive.add(project, "little-1.0")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        made = install(settings(DBT_PACKAGE_TARBALL_URL=f"{address}/little.tar.gz"))
        with pytest.raises(SettingsError, match="the server answers 404"):
            install(settings(DBT_PACKAGE_TARBALL_URL=f"{address}/nope.tar.gz"))
    finally:
        server.shutdown()
    assert made.models == 2
    assert installed(settings()) == made

    # Only the fetching differs below, so dbt need not run again.
    def quick(_, folder, *__):
        (folder / "graph.json").write_text("{}")
        return 1, []

    monkeypatch.setattr(module, "build", quick)
    named = settings(DBT_LOCAL_PATH=str(project))
    threads = [threading.Thread(target=install, args=(named,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = made.path.parent
    assert len(list(versions.iterdir())) == 2
    for _ in range(3):
        install(named, force=True)
    # A run may still be using any of them; later only the last ones are kept.
    assert len(list(versions.iterdir())) == 5
    hours_ago = time.time() - 3 * 3600
    for age, version in enumerate(kept(named)):
        os.utime(version.path, (hours_ago - age, hours_ago - age))
    before = installed(named)
    newest = install(named, force=True)
    assert len(list(versions.iterdir())) == module.KEPT_VERSIONS
    assert [one.path for one in kept(named)][:2] == [newest.path, before.path]
    assert installed(settings()) == newest


def test_a_folder_that_cannot_be_written(settings, tmp_path):
    (tmp_path / "pipeline").write_text("a file")
    with pytest.raises(SettingsError, match="CHT_PIPELINE_DIR"):
        install(settings())


def test_the_kept_drawing_of_the_starter_is_fresh():
    assert STARTER_GRAPH.read_text() == fresh_graph(), "run `python -m cht_sync starter-manifest`"
