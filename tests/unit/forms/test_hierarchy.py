import pytest

from cht_sync.forms.hierarchy import BUILT_IN, MOST_CHAINS, hierarchy_of, lineage_of

TAKEN = {"uuid", "parent_uuid", "name"}


def columns(contact_type, hierarchy):
    lineage = lineage_of(contact_type, hierarchy, TAKEN)
    return [level.column for level in lineage.levels], lineage.heights


def test_built_in_types():
    assert columns("person", BUILT_IN) == (
        ["clinic_uuid", "health_center_uuid", "district_hospital_uuid"],
        (1, 2, 3),
    )
    assert columns("clinic", BUILT_IN) == (["health_center_uuid", "district_hospital_uuid"], (2,))
    assert columns("district_hospital", BUILT_IN) == ([], (0,))
    assert columns("nobody said it", BUILT_IN) == ([], (0,))


def test_where_a_place_has_several_types_columns_are_of_places():
    either = {"house": ("village", "camp"), "village": ("district",), "camp": ("district",)}
    assert columns("house", either) == (["district_uuid", "grandparent_uuid"], (2,))
    moved = {"house": ("village", "district"), "village": ("district", "area"), "district": ("area",)}
    assert columns("house", moved) == (["area_uuid", "grandparent_uuid", "ancestor_3_uuid"], (2, 3))


def test_names_of_other_columns_and_odd_types():
    odd = {"a": ("parent",), "parent": ('My "Place"; {{ x }}',), 'My "Place"; {{ x }}': ("x" * 200,)}
    names, _ = columns("a", odd)
    assert len({*names, *TAKEN}) == 3 + len(TAKEN)
    assert all(len(name) <= 63 for name in names)
    assert names[0].startswith("parent_uuid_")
    assert names[1].startswith("my_place_x_")


def test_types_within_themselves_and_too_many_of_them():
    assert columns("a", {"a": ("a",)}) == ([], (0,))
    everyone = {str(number): tuple(str(other) for other in range(12)) for number in range(12)}
    names, heights = columns("0", everyone)
    assert names == ["grandparent_uuid", *(f"ancestor_{number}_uuid" for number in range(3, max(heights) + 1))]
    assert MOST_CHAINS < 11 * 10 * 9 * 8


def test_settings_of_several_sources():
    one = [{"id": "a", "parents": ["b"]}, {"id": "b"}, {"id": "a", "parents": ["z"]}]
    other = [{"id": "a", "parents": ["c", "b", 5]}, {"id": ""}, {"id": None, "parents": 7}, "x"]
    assert hierarchy_of([one, other]) == {"a": ("b", "c"), "b": ()}


@pytest.mark.parametrize("types", [None, [], {}, "x", [1]])
def test_without_types_the_built_in_ones_hold(types):
    assert hierarchy_of([]) == hierarchy_of([types]) == BUILT_IN
