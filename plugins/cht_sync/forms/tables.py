"""The tables of a form and their columns: one for its reports, one for each repeat."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from cht_sync.errors import SettingsError
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import GEOPOINT, KINDS, kind_of
from cht_sync.forms.contact_form import ContactForm, require_group
from cht_sync.forms.definition import FormField, Path
from cht_sync.forms.names import plain_name, unique_names

# Of the 1,600 that PostgreSQL allows; dropped columns count too.
MOST_COLUMNS = 1_400
# What is left out in any case: copies of contacts, what apps note of themselves, and pages that only sum up.
LEFT_OUT = (
    "inputs/contact/*",
    "inputs/user/*",
    "inputs/meta/*",
    "meta/*",
    "group_review/*",
    "group_summary/*",
    "summary/*",
)
STANDARD = {
    "uuid": "text",
    "saved_timestamp": "timestamp without time zone",
    "reported": "timestamp with time zone",
    "reported_by": "text",
    "reported_by_parent": "text",
    "patient_id": "text",
    "place_id": "text",
    "form_version": "text",
}
REJECTED = "rejected"
# The catalogue notes the name of a table under the path of its repeat and this, which no field of an XForm is called.
TABLE_NAME = "*table"
_MARKS = {TABLE_NAME, *(f"*{title}" for title in GEOPOINT)}
# Tables of ours, which may be in the same schema.
OF_CATALOGUE = frozenset({"form_field", "form_definition", "form_notice"})
_OF_REPEATS = ("uuid", "saved_timestamp")


@dataclass(frozen=True)
class FormChoices:
    """What the settings say of form tables.

    :param exclude: globs of paths, joined by ``/``, that get no column, beside those of :data:`LEFT_OUT`.
    :param types: kind of column by a glob of ``<code>/<path>``, whatever values say.
    """

    exclude: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    def leaves_out(self, path: Path) -> bool:
        """Whether a path gets no column by rule."""
        text = "/".join(path)
        return any(fnmatchcase(text, glob) for glob in self.globs)

    def leaves_out_all(self, path: Path) -> bool:
        """Whether all that stands below a path gets no column by rule."""
        return self.leaves_out(path) or self.leaves_out((*path, ""))

    def leaves_out_repeat(self, path: Path) -> bool:
        """Whether a repeat has no table by rule, or one around it has none."""
        return any(self.leaves_out_all(path[:end]) for end in range(1, len(path) + 1))

    @property
    def globs(self) -> tuple[str, ...]:
        """All that is left out."""
        return (*LEFT_OUT, *self.exclude)

    def keys_left_out(self, group: Path) -> frozenset[str]:
        """Keys of a group that are left out whatever a definition says, as far as globs name them."""
        plain = (glob.removesuffix("/*").split("/") for glob in self.globs)
        return frozenset(
            each[-1] for each in plain if tuple(each[:-1]) == group and not set("*?[").intersection("/".join(each))
        )


@dataclass(frozen=True)
class Column:
    """One column of a table.

    :param path: from the row's own object: the ``fields`` of a report, a contact, an element of a repeat.
    :param part: of a position, which of its four columns this is.
    :param forced: its kind is a wish of the settings, whatever values say.
    """

    name: str
    path: Path
    kind: str
    field: FormField
    part: int = 0
    forced: bool = False

    @property
    def type(self) -> str:
        """As PostgreSQL names it."""
        return KINDS[self.kind].type


@dataclass(frozen=True)
class FormTable:
    """A table of a form.

    :param repeat: path of the repeat whose elements are its rows; empty for the reports or contacts themselves.
    :param outer: paths of the repeats around that one, outermost first.
    :param positions: names of the columns that number the elements, outermost first, its own last.
    :param groups: paths of the groups that it looks into, those above before those below; not the object itself.
    :param children: paths of the repeats right within it.
    :param known: for the object itself and each group, the keys that a definition has, whether they are columns or not;
        without those in which others write as well.
    :param left_out: globs of what is left out by rule, with wildcards before their end.
    """

    form: CatalogueForm
    name: str
    columns: tuple[Column, ...]
    repeat: Path = ()
    outer: tuple[Path, ...] = ()
    positions: tuple[str, ...] = ()
    groups: tuple[Path, ...] = ()
    children: tuple[Path, ...] = ()
    known: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def start(self) -> Path:
        """Where the paths of its columns start in the form."""
        return self.repeat or self.form.group

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell its rows apart."""
        return ("uuid", *self.positions)

    @property
    def standard(self) -> dict[str, str]:
        """The columns before those of the form, with their types."""
        if not self.repeat:
            return self.form.standard if isinstance(self.form, ContactForm) else STANDARD
        return {name: STANDARD[name] for name in _OF_REPEATS} | dict.fromkeys(self.positions, "bigint")


def form_tables(
    form: CatalogueForm, choices: FormChoices, names: Mapping[tuple[str, ...], str] | None = None
) -> tuple[FormTable, ...]:
    """The tables of one form, that of its reports or contacts first; a repeat that is left out by rule has none.

    :param names: of the tables of all forms, by :func:`table_names`; by default as if there were no other form.
    :raises SettingsError: if a table would have too many columns, or a contact form does not tell what contacts hold.
    """
    require_group(form)
    asked = [each for each in form.definition.repeats if not choices.leaves_out_repeat(each)]
    repeats = sorted(dict.fromkeys(asked), key=lambda path: (len(path), path))
    names = table_names([form]) if names is None else names
    listed = [_table(form, choices, repeat, repeats, names[(form.code, *repeat)]) for repeat in ((), *repeats)]
    return tuple(listed)


def table_names(forms: Iterable[CatalogueForm]) -> dict[tuple[str, ...], str]:
    """The name of each table, by code and path of its repeat; names that forms have had stay."""
    known: dict[tuple[str, ...], str] = {}
    wanted: dict[tuple[str, ...], tuple[str, ...]] = {}
    for form in forms:
        for repeat in ((), *form.definition.repeats):
            key = (form.code, *repeat)
            wanted[key] = (_own_name(form), *repeat[len(form.group) :])
            if name := form.columns.get((*repeat, TABLE_NAME)):
                known[wanted[key]] = name
    named = unique_names(wanted.values(), OF_CATALOGUE, known)
    return {key: named[path] for key, path in wanted.items()}


def _own_name(form: CatalogueForm) -> str:
    return f"contact_{form.contact_type}" if isinstance(form, ContactForm) else f"form_{form.code}"


def _table(form: CatalogueForm, choices: FormChoices, repeat: Path, repeats: Sequence[Path], name: str) -> FormTable:
    outer = tuple(each for each in repeats if each and each == repeat[: len(each)] and each != repeat)
    count = len(outer)
    above = ["parent_position"] if count == 1 else [f"parent_position_{number}" for number in range(1, count + 1)]
    positions = (*above, "position") if repeat else ()
    ours = [each for each in form.definition.fields if _innermost(each.path, repeats) == repeat]
    children = [each for each in repeats if each != repeat and _innermost(each, repeats) == repeat]
    without = set(form.definition.repeats).difference(repeats)
    kept = [
        each
        for each in ours
        if not each.note and not choices.leaves_out(each.path) and not _innermost(each.path, without)
    ]
    wild = tuple(glob for glob in choices.globs if set("*?[").intersection(glob.removesuffix("/*")))
    table = FormTable(form, name, (), repeat, outer, positions, left_out=wild)
    start = len(table.start)
    columns = tuple(_columns(form, choices, kept, start, {*table.standard, REJECTED}))
    if len(columns) + len(table.standard) + 1 > MOST_COLUMNS:
        raise SettingsError(
            f"form {form.code} has {len(columns):,} columns in the table {name}, more than {MOST_COLUMNS:,}: leave some"
            " out by CHT_FORMS_EXCLUDE.",
            "CHT_FORMS_EXCLUDE",
        )
    inside = [each.path[start:] for each in ours] + [each[start:] for each in children]
    groups = dict.fromkeys(path[:end] for path in inside for end in range(1, len(path)))
    # What is left out as a whole is not looked into.
    looked = sorted(
        (each for each in groups if _looks_into((*table.start, *each), kept, children, choices)),
        key=lambda path: (len(path), path),
    )
    known = {
        group: frozenset(path[len(group)] for path in inside if path[: len(group)] == group and len(path) > len(group))
        | choices.keys_left_out((*table.start, *group))
        for group in ((), *looked)
        if (*table.start, *group) not in form.shared
    }
    return replace(
        table,
        columns=columns,
        groups=tuple(looked),
        children=tuple(each[start:] for each in children),
        known=known,
    )


def _innermost(path: Path, repeats: Iterable[Path]) -> Path:
    """The innermost repeat around a path: versions may differ in it, and the path of a value cannot."""
    around = [each for each in repeats if len(each) < len(path) and path[: len(each)] == each]
    return max(around, key=len, default=())


def _looks_into(full: Path, kept: Iterable[FormField], children: Iterable[Path], choices: FormChoices) -> bool:
    inside = (*(each.path for each in kept), *children)
    return any(path[: len(full)] == full for path in inside) or not choices.leaves_out_all(full)


def _columns(
    form: CatalogueForm, choices: FormChoices, kept: Iterable[FormField], start: int, taken: Collection[str]
) -> Iterable[Column]:
    wanted: dict[Path, tuple[FormField, str, int, bool]] = {}
    for each in kept:
        kind, forced = _kind(form, choices, each)
        for part, title in enumerate(GEOPOINT if kind == "geopoint" else ("",)):
            path = (*each.path, f"*{title}") if title else each.path
            wanted[path] = (each, kind, part, forced)
    plain = {path: _named_path(path[start:], taken) for path in wanted}
    # A level that the settings have since may have the name of a field.
    noted = {path: form.columns.get(path) for path, (asked, *_) in wanted.items() if _may_be_noted(asked.path)}
    known = {plain[path]: name for path, name in noted.items() if name and name not in taken}
    names = unique_names(plain.values(), taken, known)
    for path, (asked, kind, part, forced) in wanted.items():
        yield Column(names[plain[path]], asked.path[start:], kind, asked, part, forced)


def _may_be_noted(path: Path) -> bool:
    """Whether the catalogue notes the name of a column: not of a key that reads as one of our marks."""
    return not _MARKS.intersection(path)


def _named_path(path: Path, taken: Collection[str]) -> Path:
    return ("fields", *path) if plain_name(path) in taken else path


def _kind(form: CatalogueForm, choices: FormChoices, asked: FormField) -> tuple[str, bool]:
    """The kind of a field's column, and whether it is a wish of the settings."""
    named = "/".join((form.code, *asked.path))
    for glob, kind in choices.types.items():
        if fnmatchcase(named, glob):
            return kind, True
    kind = kind_of(asked.type)
    return ("text" if form.failing.get(asked.path, {}).get(kind) else kind), False


def given_names(tables: Iterable[FormTable]) -> dict[Path, str]:
    """What the catalogue is to remember of the tables of one form: names of tables by repeat, of columns by path."""
    names: dict[Path, str] = {}
    for table in tables:
        names[(*table.repeat, TABLE_NAME)] = table.name
        for column in table.columns:
            title = (f"*{GEOPOINT[column.part]}",) if column.kind == "geopoint" else ()
            if _may_be_noted(column.field.path):
                names[(*column.field.path, *title)] = column.name
    return names
