"""Other people's dbt projects: after a life of changes their tables are those of plain dbt from scratch."""

from __future__ import annotations

import logging

import pytest

from tests.integration.dbt.corpus.cascade import CASCADE
from tests.integration.dbt.corpus.dates import DATES
from tests.integration.dbt.corpus.house import HOUSE
from tests.integration.dbt.corpus.keys import KEYS
from tests.integration.dbt.corpus.life import Life
from tests.integration.dbt.corpus.upon_starter import UPON_STARTER

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.embedded("postgres", "databases are dumped, renamed and restored there"),
]
CORPUS = {"dates": DATES, "keys": KEYS, "cascade": CASCADE, "house": HOUSE, "upon_starter": UPON_STARTER}


@pytest.mark.parametrize("name", CORPUS)
def test_the_tables_are_those_of_plain_dbt_from_scratch(
    name, team, database, postgres_server, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.WARNING)
    # Of so few rows a deleted one is many percent.
    monkeypatch.setenv("CHT_MODELS_MAX_DROP", "100")
    life = Life(CORPUS[name], team, database, postgres_server)
    try:
        life.live()
    finally:
        life.end()
    said = caplog.text
    plain = life.tables(life.from_scratch(tmp_path / "plain", monkeypatch))
    ours = life.tables(database)
    different = {relation for relation in {*plain, *ours} if plain.get(relation) != ours.get(relation)}
    findings = life.project.findings
    assert different == set(findings), {one: (plain.get(one), ours.get(one)) for one in different - set(findings)}
    for relation, finding in findings.items():
        assert finding in said, f"nothing is said of {relation}"
