"""Links between pages lead somewhere, and files and commands that pages name are there."""

import re

import pytest

from cht_sync.__main__ import _parser
from cht_sync.settings.settings import REPOSITORY
from tests.releases import WHEELS

# What commands ask for beside their options.
NAMES = {"show": ["CODE"], "eject": ["CODE", "--to", "DIR"], "rename-source": ["old", "new"]}
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "SECURITY.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "include" / "dbt" / "starter" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def anchors(page):
    """What GitHub makes of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_and_files_are_there(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    lost = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []
    named = re.findall(r"`((?:include|plugins|dags|tests|docs)/[\w./-]+\.\w+)`", text)
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_tests_that_a_page_names_are_there(page):
    named = re.findall(r"(tests/[\w/.-]+\.py)::(\w+)", page.read_text())
    assert [f"{file}::{name}" for file, name in named if not _has_test(REPOSITORY / file, name)] == []


def _has_test(file, name):
    return file.exists() and re.search(rf"^def {name}\(", file.read_text(), re.M)


def test_the_threat_model_names_a_test_for_each_thing_out_of_reach():
    text = (REPOSITORY / "docs" / "explanation-security.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| (\*\*|\|)", line)]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`tests/[\w/.-]+\.py(::\w+)?`[^|]*\|$", row)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_are_there(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    assert set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", text, re.M)) <= targets
    for command, options in re.findall(r"python -m cht_sync (?!forms )([\w-]+)((?: --[\w-]+)*)", text):
        _parser().parse_args([command, *NAMES.get(command, []), *options.split()])
    for command in re.findall(r"python -m cht_sync forms (\w+)", text):
        _parser().parse_args(["forms", command, *NAMES.get(command, [])])
    modules = re.findall(r"python -m (include(?:\.\w+)*)", text)
    files = [REPOSITORY / module.replace(".", "/") for module in modules]
    assert [
        str(file) for file in files if not (file.with_suffix(".py").exists() or (file / "__main__.py").exists())
    ] == []


def blocks(text):
    """The paragraphs of a page and the rows of its tables, without code."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)
    return [block for paragraph in re.split(r"\n\s*\n", prose) for block in re.split(r"\n(?=\s*\|)", paragraph)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_who_is_told_to_unpause_is_told_every_dag(page):
    dags = {
        name
        for file in (REPOSITORY / "dags").glob("*_dag.py")
        for name in re.findall(r'dag_id="(\w+)"', file.read_text())
    }
    assert len(dags) == 8
    for block in blocks(page.read_text()):
        if re.search(r"\bunpause", block, re.I):
            assert {name for name in dags if f"`{name}`" not in block} == set(), block


def test_the_readme_is_short():
    text = PAGES[0].read_text()
    assert len(text.splitlines()) <= 200
    pictures = re.findall(r"^!\[[^\]]+\]\((docs/[\w-]+\.png)\)$", text, re.M)
    assert len(pictures) == 2


def test_the_compatibility_page_has_the_versions_that_the_locks_pin():
    page = (REPOSITORY / "docs" / "reference-compatibility.md").read_text()
    for lock in ("requirements.txt", "requirements-oldest.txt"):
        pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (REPOSITORY / lock).read_text(), re.M))
        assert f" {pinned['apache-airflow']}" in page, lock
        for name, package in (
            ("dbt-core", "dbt-core"),
            ("dbt-postgres", "dbt-postgres"),
            ("Cosmos", "astronomer-cosmos"),
        ):
            assert f"{name} {pinned[package]}" in page, (lock, package)
    assert {major for major in WHEELS if not re.search(rf"\b{major}\b", page)} == set()
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    for image in ("postgres", "couchdb", "cht-sync-superset", "postgrest/postgrest"):
        (tag,) = set(re.findall(rf"image: {image}:v?([\d.]+)", compose))
        assert tag in page or tag.removesuffix(".0") in page, image


def test_the_defaults_on_the_page_of_settings_are_those_of_the_template():
    template = dict(re.findall(r'^([A-Z0-9_]+)="?([^"\n]+)"?$', (REPOSITORY / ".env.template").read_text(), re.M))
    page = (REPOSITORY / "docs" / "how-to-choose-settings.md").read_text()
    compared = set()
    for row in re.findall(r"^\| (`[A-Z][^|]*) \| ([^|]*) \|", page, re.M):
        names, defaults = (re.findall(r"`([^`]+)`", cell) for cell in row)
        for short, default in zip(names, defaults, strict=False):
            found = [name for name in template if name == short or (short[0] == "_" and name.endswith(short))]
            name = next((name for name in found if name.startswith(names[0].split("_")[0])), None)
            if name and len(names) == len(defaults):
                assert template[name] == default, name
                compared.add(name)
    assert len(compared) > 20


def test_every_page_is_reached_from_the_index():
    index = (REPOSITORY / "docs" / "README.md").read_text()
    assert "docs/README.md" in PAGES[0].read_text()
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name}" not in index} == set()
