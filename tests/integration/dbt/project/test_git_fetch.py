import pytest

from cht_sync.dbt.project.fetch import fetch
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.source import configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import git

pytestmark = pytest.mark.integration


def fetched(url, folder):
    source = configured_source(Settings({"CHT_PIPELINE_BRANCH_URL": url}))
    revision = fetch(source, folder, GitRepository(source).commit())
    return (folder / "version.txt").read_text(), revision


@pytest.mark.parametrize("form", ["file://{}", "{}"])
@pytest.mark.parametrize(("ref", "version"), [("", "main"), ("#main", "main"), ("#next", "next"), ("#v1", "v1")])
def test_branches_tags_and_the_default(repository, tmp_path, form, ref, version):
    found, revision = fetched(form.format(repository) + ref, tmp_path / "project")
    assert found == version
    assert revision == git(repository, "rev-parse", (ref.strip("#") or "main") + "^{commit}")
    assert not (tmp_path / "project" / ".git").exists()


@pytest.mark.parametrize(("ref", "version"), [("refs/heads/next", "next"), ("refs/tags/v1", "v1")])
def test_full_names_of_branches_and_tags(repository, tmp_path, monkeypatch, ref, version):
    # A hook of git that starts this has its own repository in the environment.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert fetched(f"file://{repository}#{ref}", tmp_path / "project")[0] == version
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("length", [40, 8])
def test_commits(repository, tmp_path, length):
    commit = git(repository, "rev-parse", "next~0")
    assert fetched(f"file://{repository}#{commit[:length]}", tmp_path / "project") == ("next", commit)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file://{}#nope", "no branch, tag or commit 'nope'"),
        ("file://{}#" + "ab" * 20, "no branch, tag or commit"),
        ("file://{}-nope", "git says"),
        ("http://127.0.0.1:9/p.git", "git says .*onnect"),
    ],
)
def test_what_is_not_there(repository, tmp_path, url, reason):
    with pytest.raises(SettingsError, match=reason) as refused:
        fetched(url.format(repository), tmp_path / "project")
    assert "\n" not in str(refused.value)
