from hypothesis import given
from hypothesis import strategies as st

from cht_sync.dbt.project.lineage import Lineage
from cht_sync.dbt.run.guard import unsafe_to_run


def lineage(parents, **strategies):
    return Lineage(
        parents={name: set(reads) for name, reads in parents.items()},
        relations={name: ("v1", name) for name in parents},
        strategies={name: strategies.get(name, "") for name in parents},
        paths={name: f"p.{name}" for name in parents},
    )


def keys(*pairs):
    return {(("v1", child), ("v1", parent)) for child, parent in pairs}


TREE = {"root": ["source.raw"], "contact": ["root"], "person": ["contact"], "report": ["root"], "log": []}
CASCADE = keys(("contact", "root"), ("person", "contact"), ("report", "root"))


def test_all_that_a_failing_model_hangs_on_is_held():
    assert unsafe_to_run({"person"}, lineage(TREE), CASCADE) == {"contact", "root"}
    assert unsafe_to_run({"contact"}, lineage(TREE), CASCADE) == {"root"}
    assert unsafe_to_run({"root"}, lineage(TREE), CASCADE) == set()
    assert unsafe_to_run({"contact", "person"}, lineage(TREE), CASCADE) == {"root"}


def test_what_is_behind_a_failing_model_is_protected_too():
    """As in cht-pipeline, where contact_type has no foreign key, and person reads it."""
    tree = {**TREE, "contact_type": ["contact"], "person": ["contact", "contact_type"]}
    assert unsafe_to_run({"contact_type"}, lineage(tree), CASCADE) == {"contact", "root"}


def test_a_model_whose_path_is_a_folder_of_others():
    line = lineage({"form": [], "form.visit": [], "formula": []})
    assert (line.select({"form"}), line.exclude({"form"})) == ("fqn:p.form", "fqn:p.form.visit")
    assert line.exclude({"form", "form.visit"}) == ""


def test_a_model_that_writes_over_its_rows_need_not_wait():
    assert unsafe_to_run({"person"}, lineage(TREE, root="upsert", contact="merge"), CASCADE) == set()
    assert unsafe_to_run({"person"}, lineage(TREE, contact="merge"), CASCADE) == {"root"}


def test_keys_of_other_tables_hold_nothing():
    assert unsafe_to_run({"person"}, lineage(TREE), keys(("person", "elsewhere"), ("other", "root"))) == set()


def test_descendants_and_models_of_documents():
    line = lineage(TREE)
    assert line.descendants({"contact"}) == {"contact", "person"}
    assert line.of_documents() == {"root", "contact", "person", "report"}
    assert line.select({"person", "contact"}) == "fqn:p.contact fqn:p.person"


names = st.sampled_from("abcdef")


@given(st.sets(st.tuples(names, names)), st.sets(names))
def test_it_ends_whatever_hangs_on_what(pairs, failing):
    line = lineage({name: [] for name in "abcdef"})
    found = unsafe_to_run(failing, line, keys(*((a, b) for a, b in pairs if a != b)))
    assert not found & failing
