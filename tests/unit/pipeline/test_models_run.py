"""A group of models beside another one that fails."""

from types import SimpleNamespace

import pytest

from cht_sync.pipeline import models_run
from cht_sync.pipeline.lineage import Lineage
from cht_sync.pipeline.models_run import ModelsRun

NAMES = {"root": ["source.raw"], "contact": ["root"], "log": []}
LINEAGE = Lineage(
    parents={name: set(reads) for name, reads in NAMES.items()},
    relations={name: ("v1", name) for name in NAMES},
    strategies=dict.fromkeys(NAMES, ""),
    paths={name: f"p.{name}" for name in NAMES},
)


class Dbt:
    """Notes what is run."""

    manifest, variables = None, {}

    def __init__(self, select):
        self.select, self.ran = select, []

    def run(self, watch, select=None, variables=None):
        self.ran.append(select)
        return SimpleNamespace(success=True)


class Watch:
    """Knows that contact fails, and that root's deletes would reach it."""

    def __init__(self):
        self.results = {}

    def failing(self):
        return {"contact"}

    def held(self, failing):
        return {"root"} if failing else set()

    def since(self, model):
        return "since noon"

    def record(self):
        pass


class Tells:
    """Notes which models are held."""

    def __init__(self):
        self.keep, self.held = False, set()

    def hold(self, models, why):
        assert "contact (fails since noon)" in why
        self.held |= models


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(models_run.Lineage, "of", lambda manifest: LINEAGE)

    def run(select, **options):
        dbt, tells = Dbt(select), Tells()
        waiting = SimpleNamespace(newest=lambda: "newest", reached=lambda: None)
        made = ModelsRun(dbt, Watch(), waiting, tells, beside={"contact"}, **options)
        assert made.execute().success
        return dbt.ran, tells.held, made.modelled_to

    return run


def test_what_would_delete_rows_of_the_other_group_waits(run):
    assert run("fqn:p.root fqn:p.log") == (["fqn:p.log"], {"root"}, None)


def test_nothing_runs_where_all_wait(run):
    assert run("fqn:p.root") == ([], {"root"}, None)


def test_with_the_guard_lifted_all_run(run):
    assert run("fqn:p.root fqn:p.log", lift=True) == (["fqn:p.root fqn:p.log"], set(), "newest")
