"""Which types of contacts stand above which, and the columns that a table of contacts has for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor

from cht_sync.forms.names import unique_names
from cht_sync.forms.xform import MOST_BYTES
from cht_sync.postgres.query import Names

# For each type those that may be right above it.
Hierarchy = Mapping[str, tuple[str, ...]]
# That of a CHT whose settings name no types.
BUILT_IN: Hierarchy = {
    "district_hospital": (),
    "health_center": ("district_hospital",),
    "clinic": ("health_center",),
    "person": ("district_hospital", "health_center", "clinic"),
}
# More are no hierarchy that anybody could name columns by.
MOST_LEVELS, MOST_CHAINS = 12, 500
_TYPES = """
select case when octet_length(types::text) <= %s then types end
from (
    select doc #> '{{settings,contact_types}}' as types, _deleted from {schema}.{table} where _id = 'settings'
    union all
    select doc #> '{{settings,contact_types}}', _deleted from {schema}.couchdb_collision where _id = 'settings'
) as stored
where _deleted is not true
"""


@dataclass(frozen=True)
class Level:
    """A column with the id of a contact above.

    :param type: of that contact; empty where several are possible.
    :param number: its place, counted from the top of the lineage where there is a type, else from the contact.
    """

    column: str
    type: str
    number: int


@dataclass(frozen=True)
class Lineage:
    """What stands above contacts of one type.

    :param heights: how many contacts may stand above.
    """

    levels: tuple[Level, ...] = ()
    heights: tuple[int, ...] = (0,)


def read_hierarchy(cursor: Cursor, names: Names) -> Hierarchy:
    """The types that the copied settings name, those of all sources together."""
    return hierarchy_of(types for (types,) in names.execute(cursor, _TYPES, (MOST_BYTES,)).fetchall())


def hierarchy_of(settings: Iterable[Any]) -> Hierarchy:
    """The hierarchy of ``contact_types`` of settings documents; the built-in one for those that have none."""
    found: dict[str, dict[str, None]] = {}
    for types in settings:
        for name, parents in (_configured(types) or BUILT_IN).items():
            found.setdefault(name, {}).update(dict.fromkeys(parents))
    return {name: tuple(parents) for name, parents in found.items()} or BUILT_IN


def lineage_of(contact_type: str, hierarchy: Hierarchy, taken: Collection[str]) -> Lineage:
    """The columns of a type of contacts, nearest first.

    Counted from the top, a place mostly has one type, whatever the contact is: a column is named by it. Where it has
    several, or a type several places, the columns are those of the places counted from the contact.

    :param taken: names of other columns of the table.
    """
    chains = _chains(contact_type, hierarchy)
    tallest = max(map(len, chains))
    at_top = {number: {chain[-number] for chain in chains if len(chain) >= number} for number in range(tallest, 0, -1)}
    places = Counter(name for names in at_top.values() for name in names)
    # Of too many only some were looked at, so nothing is said of the others.
    named = {
        name: number
        for number, names in at_top.items()
        for name in names
        if len(names) == 1 and places[name] == 1 and len(chains) < MOST_CHAINS
    }
    by_place = [] if len(named) == tallest else [_place(number) for number in range(2, tallest + 1)]
    columns = unique_names([(f"{name}_uuid",) for name in named], {*taken, *(level.column for level in by_place)})
    by_type = [Level(columns[f"{name}_uuid",], name, number) for name, number in named.items()]
    return Lineage((*by_type, *by_place), tuple(sorted({len(chain) for chain in chains})))


def _place(number: int) -> Level:
    return Level("grandparent_uuid" if number == 2 else f"ancestor_{number}_uuid", "", number)


def _chains(contact_type: str, hierarchy: Hierarchy) -> list[tuple[str, ...]]:
    """Every row of types that may stand above one, nearest first; of too many the first ones."""
    found = []
    for chain in _above((contact_type,), hierarchy):
        found.append(chain[1:])
        if len(found) == MOST_CHAINS:
            break
    return found


def _above(chain: tuple[str, ...], hierarchy: Hierarchy) -> Iterator[tuple[str, ...]]:
    # A type within itself has no end.
    parents = [each for each in hierarchy.get(chain[-1], ()) if each not in chain]
    if not parents or len(chain) > MOST_LEVELS:
        yield chain
        return
    for parent in parents:
        yield from _above((*chain, parent), hierarchy)


def _configured(types: Any) -> dict[str, list[str]]:
    listed = [each for each in types if isinstance(each, Mapping)] if isinstance(types, list) else []
    found: dict[str, list[str]] = {}
    for each in listed:
        name, parents = each.get("id"), each.get("parents")
        if isinstance(name, str) and name.strip() and name not in found:
            found[name] = [one for one in parents if isinstance(one, str)] if isinstance(parents, list) else []
    return found
