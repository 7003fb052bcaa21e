"""A project is deployed, broken, changed, rolled back: real git, real dbt, real Postgres."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import pytest

from cht_sync.dbt.deploy import active_version, deploy, install
from cht_sync.dbt.deploy.active_version import expected_version, project_folder
from cht_sync.dbt.deploy.deploy import build_version, plan, switch
from cht_sync.dbt.deploy.look import Wish, look
from cht_sync.dbt.project import source
from cht_sync.dbt.project import version as deployment
from cht_sync.dbt.project.version import installed, kept
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.tables.deployments import Deployments
from cht_sync.errors import SettingsError, StoreError
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import git, write_project

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DOCUMENTS = """
{{ config(materialized='incremental', unique_key='uuid') }}
select _id as uuid, saved_timestamp from {{ source('couchdb', 'couchdb') }}
{% if is_incremental() %}
where saved_timestamp > (select max(saved_timestamp) from {{ this }})
{% endif %}
"""
PERSONS = """
{{ config(materialized='incremental', unique_key='uuid') }}
select m.uuid, {column} from {{ ref('documents') }} m join {{ source('couchdb', 'couchdb') }} c on c._id = m.uuid
"""
SOURCES = """
sources:
  - name: couchdb
    schema: "{{ env_var('POSTGRES_SCHEMA') }}"
    tables: [{name: "{{ env_var('POSTGRES_TABLE') }}"}]
unit_tests:
  - name: every_person_is_there
    model: persons
    overrides: {macros: {is_incremental: false}}
    given:
      - {input: ref('documents'), rows: [{uuid: a}]}
      - {input: "source('couchdb', 'couchdb')", rows: [{_id: a}]}
    expect: {rows: [{uuid: a}]}
"""

ONE_PERSON = """
insert into v1.couchdb values (now() at time zone 'utc', 'a', false, 'h/medic', '{"name": "Amina"}')
"""


def persons(column):
    return PERSONS.replace("{column}", column)


@pytest.fixture
def repository(tmp_path):
    """A git repository of a small project of cht-pipeline's shape."""
    folder = write_project(
        tmp_path / "little",
        **{
            "models/documents.sql": DOCUMENTS,
            "models/persons.sql": persons("c.doc ->> 'name' as name"),
            "models/models.yml": SOURCES,
        },
    )
    for name in ("one", "two"):
        (folder / "models" / f"{name}.sql").unlink()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "one")
    return folder


def commit(folder, message, files=()):
    for name, text in dict(files).items():
        (folder / name).write_text(text)
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def settings(database, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("CHT_PIPELINE_BRANCH_URL", f"file://{repository}#main")
    return Settings()


class Deploy:
    """Does what the tasks do, one after the other."""

    def __init__(self, settings):
        self.settings = settings
        self.planned = None

    def __call__(self, **wish):
        """The goal, or None where there was nothing to do."""
        goal = self.staged(**wish)
        if goal:
            self.planned = plan(self.settings, goal, Wish(**wish))
            self.report = switch(self.settings, goal, Wish(**wish), "test")
        return goal

    def staged(self, **wish):
        goal = look(self.settings, Wish(**wish))
        return goal and build_version(self.settings, goal, Wish(**wish))

    def run_models(self):
        """What a run of cht_sync does: dbt in the version in use."""
        from cht_sync.dbt.launch.dbt_command import DbtProgram
        from cht_sync.dbt.project.source import configured_source

        folder = project_folder(self.settings, expected_version(self.settings))
        program = DbtProgram(configured_source(self.settings), folder, self.settings, connected=True)
        assert program.try_to("run") is None
        return folder

    @property
    def revision(self):
        return installed(self.settings).revision


@pytest.fixture
def do_deploy(settings):
    return Deploy(settings)


def test_a_broken_commit_is_told_and_leaves_the_version_in_use(do_deploy, settings, database, repository, caplog):
    caplog.set_level("INFO")
    first = git(repository, "rev-parse", "HEAD")

    # An empty database: the tables of the sync are made, nothing is rebuilt.
    with pytest.raises(SettingsError, match=r"unit test every_person_is_there .* deploy without run_unit_tests"):
        do_deploy(run_unit_tests=True)
    assert installed(settings) is None
    assert do_deploy().reason.startswith(str(kept(settings)[0].path.name))
    assert (do_deploy.planned, do_deploy.revision, do_deploy.report["rebuilt"]) == ([], first, [])
    database.rows(ONE_PERSON)
    do_deploy.run_models()
    assert database.rows("select uuid, name from v1.persons") == [("a", "Amina")]
    assert do_deploy(run_unit_tests=True) is None
    assert "2 models compile against the target; 1 unit tests pass" in caplog.text

    # Nothing new.
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert look(settings, Wish()) is None
        took.append(time.monotonic() - began)
    assert min(took) < 3

    # Commits that are broken, for dbt while it parses, while it compiles, and for Postgres alone.
    version = expected_version(settings)
    commit(repository, "broken", {"models/persons.sql": "select {{ no_such_macro( }}"})
    with pytest.raises(SettingsError, match="dbt parse says: .*models/persons.sql"):
        do_deploy()
    commit(
        repository,
        "still broken",
        {
            "models/persons.sql": "selec uuid from {{ ref('documents') }}",
            "models/asks.sql": "{% do run_query('select 1 from v1.nowhere') %} select 1 as a",
        },
    )
    with pytest.raises(SettingsError, match="2 of its models or tests fail") as refused:
        do_deploy()
    assert 'relation "v1.nowhere" does not exist' in str(refused.value)
    assert "model persons (models/persons.sql): Postgres says 'syntax error" in str(refused.value)
    assert (expected_version(settings), do_deploy.revision) == (version, first)


def test_what_changed_is_rebuilt_and_rolled_back(do_deploy, settings, database, repository, caplog, monkeypatch):
    monkeypatch.setattr(deploy, "validate", lambda *_: None)
    first = git(repository, "rev-parse", "HEAD")
    assert do_deploy()
    database.rows(ONE_PERSON)
    do_deploy.run_models()

    # One model changed, another is new and needs a package.
    package = repository.parent / "package"
    package.mkdir()
    (package / "dbt_project.yml").write_text("name: helper\nversion: 1.0.0\n")
    (package / "macros").mkdir()
    (package / "macros" / "two.sql").write_text("{% macro two() %}2{% endmacro %}")
    git(package, "init", "--quiet", "--initial-branch=main")
    commit(package, "package")
    second = commit(
        repository,
        "second",
        {
            "models/persons.sql": persons("c.doc ->> 'name' as full_name"),
            "models/numbers.sql": "select {{ helper.two() }} as a, count(*) as n from {{ ref('persons') }}",
            "packages.yml": f"packages:\n  - git: file://{package}\n    revision: main\n",
        },
    )
    goal = do_deploy.staged()
    planned = plan(settings, goal, Wish())
    assert {(one["model"], one["rows"]) for one in planned} == {("persons", 1), ("numbers", None)}
    assert (do_deploy.revision, database.rows("select name from v1.persons")) == (first, [("Amina",)])
    # What waits is said, and cleared tasks do the same again.
    assert build_version(settings, goal, Wish()) == goal
    for _ in range(2):
        switch(settings, goal, Wish(), "test")
        assert database.rows("select full_name from v1.persons") == [("Amina",)]
        assert (do_deploy.revision, look(settings, Wish())) == (second, None)
    assert database.rows("select a, n from v1.numbers") == [(2, 1)]
    assert plan(settings, goal, Wish()) == []

    # Back again: what waits is held until it has a successor.
    with pytest.raises(SettingsError, match=f"Param roll_back_to='nope' .*{first[:12]}"):
        look(settings, Wish(roll_back_to="nope"))
    assert do_deploy(roll_back_to=first[:10])
    assert database.rows("select name from v1.persons") == [("Amina",)]
    assert (do_deploy.revision, look(settings, Wish())) == (first, None)
    assert "was rolled back from: blocked from redeployment" in caplog.text
    # A model that the project has no longer: its table stays until someone drops it, and that is said.
    assert database.rows("select a, n from v1.numbers") == [(2, 1)]
    assert "v1.numbers is of no model any more" in caplog.text


@pytest.fixture
def quick(monkeypatch):
    """Where dbt itself does not matter: nothing is parsed, nothing has to be rebuilt."""

    def build(source, folder, settings, forms=None):
        node = {"resource_type": "model", "name": "one", "schema": "v1", "alias": "one", "depends_on": {"nodes": []}}
        graph = {"metadata": {"project_name": "none"}, "nodes": {"model.none.one": node}, "hooks": [], "selectors": {}}
        (folder / "graph.json").write_text(json.dumps(graph))
        (folder / "manifest.json").write_text(json.dumps({**graph, "nodes": {}, "sources": {}}))
        return 1, []

    monkeypatch.setattr(install, "build", build)
    monkeypatch.setattr(deploy, "validate", lambda *_: None)
    monkeypatch.setattr(deploy, "plan_rebuild", lambda *_: RebuildPlan())


def test_a_switch_that_fails_is_tried_again(quick, do_deploy, settings, repository, monkeypatch):
    first = git(repository, "rev-parse", "HEAD")
    do_deploy()

    def fail(*_):
        raise psycopg2.OperationalError("gone")

    second = commit(repository, "second", {"new": ""})
    with monkeypatch.context() as broken:
        broken.setattr(Deployments, "record", fail)
        with pytest.raises(StoreError):
            do_deploy()
    assert do_deploy.revision == first
    assert expected_version(settings).split("-")[1] == first
    # Committed, and killed before the link moved.
    with monkeypatch.context() as broken:
        broken.setattr(deploy, "publish", fail)
        with pytest.raises(psycopg2.OperationalError):
            do_deploy()
    assert do_deploy.revision == first
    assert expected_version(settings).split("-")[1] == second
    assert "is not what this machine uses yet" in look(settings, Wish()).reason
    do_deploy()
    assert do_deploy.revision == second
    assert look(settings, Wish()) is None
    assert len(kept(settings)) == 2

    # The folder of another machine, or one that somebody removed.
    shutil.rmtree(settings.pipeline_dir)
    with pytest.raises(SettingsError, match="there is none"):
        look(settings, Wish(roll_back_to=first))
    assert do_deploy()
    assert do_deploy.revision == second


def test_what_was_rolled_back_from_is_held(quick, do_deploy, settings, repository):
    first = git(repository, "rev-parse", "HEAD")
    do_deploy()
    second = commit(repository, "second", {"new": ""})
    do_deploy()
    stale = do_deploy.staged(roll_back_to=first)
    do_deploy(roll_back_to=first)
    assert (do_deploy.revision, do_deploy()) == (first, None)
    # Killed before the link moved: the next run brings it to its end, and the hold stays.
    newest = next(one for one in kept(settings) if one.revision == second)
    install.publish(settings, newest)
    assert do_deploy()
    assert (do_deploy.revision, do_deploy()) == (first, None)
    do_deploy(force=True)
    assert (do_deploy.revision, do_deploy()) == (second, None)
    do_deploy(roll_back_to=first)
    third = commit(repository, "third", {"new": "3"})
    do_deploy()
    assert (do_deploy.revision, do_deploy()) == (third, None)
    # A task of a run that others have overtaken is cleared.
    with pytest.raises(StoreError, match="since this run looked"):
        switch(settings, stale, Wish(), "test")
    # Two steps back and one forward: what is newest stays held until it is itself named.
    do_deploy(roll_back_to=second)
    do_deploy(roll_back_to=first)
    assert (do_deploy.revision, do_deploy()) == (first, None)
    do_deploy(roll_back_to=third)
    assert (do_deploy.revision, Deployments(settings).recorded().held) == (third, "")
    do_deploy(roll_back_to=second)
    shutil.rmtree(settings.pipeline_dir)
    with pytest.raises(SettingsError, match="with force to deploy the newest one"):
        do_deploy()
    assert do_deploy(force=True)
    assert do_deploy.revision == third


def test_a_folder_and_a_tarball_are_deployed_when_their_content_changes(
    quick, do_deploy, settings, repository, tmp_path, monkeypatch
):
    do_deploy()
    monkeypatch.setenv("DBT_LOCAL_PATH", str(repository))
    # Until it is deployed, the version in use goes on.
    running = expected_version(settings)
    assert do_deploy()
    assert expected_version(settings) != running
    assert do_deploy() is None
    (repository / "models" / "persons.sql").write_text("select 2 as a")
    assert do_deploy()
    assert (installed(settings).path / "project" / "models" / "persons.sql").read_text() == "select 2 as a"
    assert do_deploy() is None

    # A git URL would come before the tarball.
    monkeypatch.setenv("DBT_LOCAL_PATH", "")
    monkeypatch.setenv("CHT_PIPELINE_BRANCH_URL", "")
    with serve(tmp_path) as address:
        monkeypatch.setenv("DBT_PACKAGE_TARBALL_URL", f"{address}/little.tar.gz")
        pack(repository, tmp_path, 1_700_000_000)
        assert do_deploy()
        assert do_deploy() is None
        # Stored again with the same content: only the download shows that.
        pack(repository, tmp_path, 1_700_000_100)
        assert look(settings, Wish())
        assert do_deploy() is None
        assert look(settings, Wish()) is None
        (repository / "models" / "persons.sql").write_text("select 3 as a")
        pack(repository, tmp_path, 1_700_000_200)
        assert do_deploy()
        assert do_deploy() is None


def test_the_starter_of_a_new_release_is_deployed_like_any_other(
    quick, do_deploy, settings, repository, monkeypatch, caplog
):
    monkeypatch.setenv("CHT_PIPELINE_BRANCH_URL", "")
    for module in (source, deployment, active_version):
        monkeypatch.setattr(module, "STARTER", repository)
    Deployments(settings).prepare()

    # The first run of the models, before any deployment: it installs the starter and notes it.
    drawn = deployment.require_current(settings)
    assert (drawn.installed, drawn.version) == (False, expected_version(settings))
    folder = project_folder(settings, expected_version(settings))
    assert Deployments(settings).recorded().versions == {"": drawn.version}
    assert deployment.require_current(settings).path == folder.resolve()
    assert look(settings, Wish()) is None

    # A new release: the runs go on with what the tables come from, and say so.
    (repository / "models" / "persons.sql").write_text("select 2 as a")
    assert "the starter models of this release" not in caplog.text
    assert (expected_version(settings), project_folder(settings)) == (drawn.version, folder)
    assert "until the DAG cht_pipeline_deploy has deployed the starter models of this release" in caplog.text
    assert do_deploy()
    assert do_deploy() is None
    # A run that began before it takes what the tables come from now.
    assert project_folder(settings, drawn.version) == installed(settings).path != folder


def test_a_project_that_is_not_deployed_to_this_database_is_not_run_in_place_of_another(
    quick, do_deploy, settings, repository, monkeypatch
):
    with pytest.raises(SettingsError, match="No dbt project is installed"):
        expected_version(settings)
    do_deploy()
    monkeypatch.setenv("POSTGRES_SCHEMA", "elsewhere")
    monkeypatch.setenv("DBT_LOCAL_PATH", str(repository))
    Deployments(settings).prepare()
    with pytest.raises(SettingsError, match="but the settings name"):
        expected_version(settings)
    assert active_version.deployed_version(settings) is None
    monkeypatch.setenv("POSTGRES_SCHEMA", "v1")
    assert active_version.deployed_version(settings).path == installed(settings).path
    monkeypatch.setenv("POSTGRES_PASSWORD", "wrong")
    assert active_version.deployed_version(settings) is None


@contextmanager
def serve(folder):
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def pack(project, folder, modified):
    with tarfile.open(folder / "little.tar.gz", "w:gz") as archive:
        archive.add(project / "dbt_project.yml", "little/dbt_project.yml")
        archive.add(project / "models", "little/models")
    os.utime(folder / "little.tar.gz", (modified, modified))
