"""Paths of packages lead where they lead in the project itself."""

import pytest

from cht_sync.dbt.project.packages import settle_local_packages
from cht_sync.dbt.project.source import Source
from cht_sync.errors import SettingsError

SOURCE = Source("folder", "/srv/our_models")


@pytest.fixture
def version(tmp_path):
    (tmp_path / "project" / "shared" / "deeper").mkdir(parents=True)
    (tmp_path / "project" / "dbt_packages" / "other").mkdir(parents=True)
    return tmp_path


def settled(version, text, file="packages.yml"):
    path = version / "project" / file
    path.write_text(text)
    settle_local_packages(SOURCE, version)
    return path.read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("packages:\n  - local: shared\n", "packages:\n  - local: project/shared\n"),
        ("packages:\n  - local: ./shared/  # ours\n", "packages:\n  - local: project/shared  # ours\n"),
        ("packages: [{local: 'shared'}]\n", "packages: [{local: 'project/shared'}]\n"),
        ('packages:\n  - "local": "shared/deeper"\n', 'packages:\n  - "local": "project/shared/deeper"\n'),
        ("packages:\n  - local: /srv/other\n", None),
        ("packages:\n  - local: \"{{ env_var('PLACE') }}\"\n", None),
        ("packages:\n  - package: dbt-labs/dbt_utils\n    version: 1.0.0\n", None),
        ("packages: [not, {yaml\n", None),
        ("", None),
    ],
)
def test_paths_within_the_project(version, before, after):
    assert settled(version, before) == (before if after is None else after)
    assert settled(version, after or before) == (after or before)  # once more changes nothing


def test_packages_of_packages_and_dependencies(version):
    (version / "project" / "shared" / "packages.yml").write_text("packages:\n  - local: shared/deeper\n")
    (version / "project" / "dbt_packages" / "other" / "packages.yml").write_text("packages:\n  - local: nowhere\n")
    settled(version, "packages:\n  - local: shared\n", "dependencies.yml")
    assert (
        version / "project" / "shared" / "packages.yml"
    ).read_text() == "packages:\n  - local: project/shared/deeper\n"


@pytest.mark.parametrize("path", ["include/dbt/starter", "./include/dbt/starter/"])
def test_the_starter_is_given(version, path):
    text = f"packages:\n  - local: {path}\n"
    assert settled(version, text) == text
    assert (version / "include" / "dbt" / "starter" / "dbt_project.yml").is_file()


def test_a_starter_of_the_project_itself_comes_first(version):
    (version / "project" / "include" / "dbt" / "starter").mkdir(parents=True)
    found = settled(version, "packages:\n  - local: include/dbt/starter\n")
    assert found == "packages:\n  - local: project/include/dbt/starter\n"


@pytest.mark.parametrize("path", ["elsewhere", "../other", "../../etc", "shared/../../other"])
def test_what_is_not_in_the_project_is_refused_by_name(version, path):
    (version / "other").mkdir()
    with pytest.raises(SettingsError, match="packages.yml names the local package"):
        settled(version, f"packages:\n  - local: {path}\n")
