"""A dbt project that reaches for files of the machine it is installed on, by links, packages and names of folders."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.project.content import content_hash
from cht_sync.dbt.project.fetch import fetch
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.source import Source, configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import PROJECT, git, write_project

pytestmark = pytest.mark.integration
CANARY = "s3cret-of-the-worker"


@pytest.fixture
def secret(tmp_path):
    """A file of the machine, outside of every project."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "password.sql"
    path.write_text(f"select '{CANARY}' as a")
    return path


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path / "little")


def committed(project):
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "one")
    return f"file://{project}"


def fetched(variable, value, folder):
    source = configured_source(Settings({variable: value}))
    return fetch(source, folder, GitRepository(source).commit() if source.kind == "git" else "")


def links(secret):
    above = f"../{secret.parent.name}/password.sql"
    return {
        "absolute": {"models/x.sql": str(secret)},
        "by dots": {"models/x.sql": f"../{above}"},
        "a folder": {"models/more": f"../../{secret.parent.name}"},
        "the models": {"models": f"../{secret.parent.name}"},
        "a chain": {"models/x.sql": "y.sql", "models/y.sql": "../z.sql", "z.sql": above},
        "through a folder": {"models/x.sql": "up/password.sql", "models/up": f"../../{secret.parent.name}"},
        "out and in again": {"models/x.sql": "../../little/models/one.sql"},
        "of the process": {"models/x.sql": "/proc/self/environ"},
        "the project file": {"dbt_project.yml": str(secret)},
        "the selectors": {"selectors.yml": str(secret)},
    }


@pytest.mark.parametrize("variable", ["DBT_LOCAL_PATH", "CHT_PIPELINE_BRANCH_URL"])
@pytest.mark.parametrize("case", links(Path("/run/x")))
def test_a_link_that_leaves_the_project_is_refused(project, secret, tmp_path, variable, case):
    for name, target in links(secret)[case].items():
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target)
    place = str(project) if variable == "DBT_LOCAL_PATH" else committed(project)
    with pytest.raises(SettingsError, match="is a link to '.*', which is not in the project") as refused:
        fetched(variable, place, tmp_path / "version" / "project" if variable != "DBT_LOCAL_PATH" else tmp_path / "new")
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("variable", ["DBT_LOCAL_PATH", "CHT_PIPELINE_BRANCH_URL"])
def test_a_link_within_the_project_stays_one(project, tmp_path, variable):
    # As folders of Kubernetes are mounted.
    (project / "models" / "three.sql").symlink_to("../shared/three.sql")
    (project / "shared").mkdir()
    (project / "shared" / "three.sql").write_text("select 3 as a")
    (project / "macros").symlink_to("..data/macros")
    (project / "..data" / "macros").mkdir(parents=True)
    (project / "..data" / "macros" / "m.sql").write_text("{% macro m() %}{% endmacro %}")
    place = str(project) if variable == "DBT_LOCAL_PATH" else committed(project)
    fetched(variable, place, tmp_path / "new")
    assert (tmp_path / "new" / "models" / "three.sql").read_text() == "select 3 as a"
    assert os.readlink(tmp_path / "new" / "models" / "three.sql") == "../shared/three.sql"
    assert (tmp_path / "new" / "macros" / "m.sql").is_file()
    # Else each look would find another version than the one that was built.
    assert content_hash(project) == content_hash(tmp_path / "new")


def test_other_names_of_files_and_what_is_no_file(project, secret, tmp_path):
    source = Source("folder", str(project))
    os.link(project / "models" / "one.sql", project / "models" / "three.sql")
    fetch(source, tmp_path / "both inside")
    os.link(secret, project / "models" / "x.sql")
    with pytest.raises(SettingsError, match=r"'models/x.sql' is a hard link, with a name that is not in the project"):
        fetch(source, tmp_path / "one")
    (project / "models" / "x.sql").unlink()
    os.mkfifo(project / "models" / "x.sql")
    for act in (lambda: fetch(source, tmp_path / "two"), lambda: content_hash(project)):
        with pytest.raises(SettingsError, match=r"'models/x.sql' is a named pipe"):
            act()
    (project / "models" / "x.sql").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "models" / "s"))
        with pytest.raises(SettingsError, match=r"'models/s' is a socket"):
            fetch(source, tmp_path / "three")


def test_submodules_are_no_part_of_a_project(project, tmp_path):
    inner = write_project(tmp_path / "inner")
    committed(inner)
    committed(project)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{inner}", "models/inner")
    git(project, "commit", "--quiet", "-m", "two")
    with pytest.raises(SettingsError, match="'models/inner' is a submodule"):
        fetched("CHT_PIPELINE_BRANCH_URL", f"file://{project}", tmp_path / "new")


def test_no_filter_and_no_hook_runs(project, secret, tmp_path, monkeypatch, caplog):
    """Not even one that this machine has for all repositories: a project chooses which of its files it gets."""
    (project / ".gitattributes").write_text("*.csv filter=lfs\n*.txt filter=evil\n")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (project / "seed.csv").write_text(pointer)
    (project / "a.txt").write_text("as it is")
    place = committed(project)
    marker, hooks = tmp_path / "marker", tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[core]\nhooksPath = {hooks}\n[init]\ntemplateDir = {tmp_path}\n"
        f'[filter "evil"]\nsmudge = cat {secret}\n[filter "lfs"]\nsmudge = touch {marker}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    fetched("CHT_PIPELINE_BRANCH_URL", place, tmp_path / "new")
    assert (tmp_path / "new" / "a.txt").read_text() == "as it is"
    assert (tmp_path / "new" / "seed.csv").read_text() == pointer
    assert "keeps seed.csv in git LFS" in caplog.text
    assert not marker.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"model-paths": ["models", "{outside}"]}, "has model-paths: '.*', which is not in the project"),
        ({"model-paths": ["../../.."]}, "has model-paths: '../../..', which is not in the project"),
        ({"docs-paths": ["models/../../../x"]}, "has docs-paths"),
        ({"macro_paths": ["/etc"]}, "has macro-paths: '/etc'"),
        ({"seed-paths": ["{{ '/' ~ 'etc' }}"]}, "has Jinja in seed-paths"),
        ({"asset-paths": ["{{ env_var('HOME') }}"]}, "has Jinja in asset-paths"),
        ({"target-path": "/tmp/target"}, "has target-path: '/tmp/target'"),
        ({"log-path": "../../logs"}, "has log-path: '../../logs'"),
        ({"packages-install-path": "../../../x"}, "has packages-install-path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_folders_of_a_project_are_in_it(project, settings, secret, more, message):
    named = {
        key: [path.replace("{outside}", str(secret.parent)) for path in value] if isinstance(value, list) else value
        for key, value in more.items()
    }
    (project / "dbt_project.yml").write_text(PROJECT + "".join(f"{key}: {value!r}\n" for key, value in named.items()))
    with pytest.raises(SettingsError, match=message):
        install(settings(DBT_LOCAL_PATH=str(project)))


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")

    def make(**environ):
        return Settings({"CHT_PIPELINE_DIR": str(tmp_path / "pipeline"), **environ})

    return make


def everything(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["local", "git", "its project file", "folders of a package", "a name that leads out"])
def test_packages_of_a_project_are_looked_at_too(project, settings, secret, tmp_path, kind):
    other = write_project(tmp_path / "other", **{"dbt_project.yml": PROJECT.replace("little", "other")})
    for name in ("one", "two"):
        (other / "models" / f"{name}.sql").rename(other / "models" / f"o_{name}.sql")
    (other / "models" / "o_two.sql").unlink()
    if kind == "git":
        (other / "models" / "x.sql").symlink_to(secret)
    elif kind == "its project file":
        (other / "dbt_project.yml").unlink()
        (other / "dbt_project.yml").symlink_to(secret)
    elif kind == "folders of a package":
        text = PROJECT.replace("little", "other") + f"model-paths: ['{secret.parent}']\n"
        (other / "dbt_project.yml").write_text(text)
    elif kind == "a name that leads out":
        (other / "dbt_project.yml").write_text(PROJECT.replace("little", "../../../escaped"))
    if kind == "local":
        (project / "packages.yml").write_text(f"packages:\n  - local: {other}\n")
    else:
        (project / "packages.yml").write_text(f"packages:\n  - git: {committed(other)}\n    revision: main\n")
    message = {
        "local": "package 'other' is local, in .*, which is not in the project",
        "git": "'dbt_packages/other/models/x.sql' is a link to",
        "its project file": "dbt_project.yml' is a link to",
        "folders of a package": "dbt_project.yml of 'other' has model-paths",
        "a name that leads out": "escaped",
    }[kind]
    with pytest.raises(SettingsError, match=message) as refused:
        install(settings(DBT_LOCAL_PATH=str(project)))
    assert CANARY not in str(refused.value)
    assert CANARY.encode() not in everything(tmp_path / "pipeline")
    assert not list(tmp_path.rglob("escaped"))


def test_sound_packages_are_installed_without_their_repository(project, settings, tmp_path):
    other = write_project(tmp_path / "other", **{"dbt_project.yml": PROJECT.replace("little", "other")})
    for name in ("one", "two"):
        (other / "models" / f"{name}.sql").unlink()
    (other / "models" / "three.sql").write_text("select 3 as a")
    (project / "packages.yml").write_text(f"packages:\n  - git: {committed(other)}\n    revision: main\n")
    made = install(settings(DBT_LOCAL_PATH=str(project)))
    assert made.models == 3
    assert sorted(path.name for path in (made.path / "dbt_packages").iterdir()) == ["little", "other"]
    assert not (made.path / "dbt_packages" / "other" / ".git").exists()
    assert not (made.path / ".downloads").exists()
