"""The SQL of a form's models: what a report says, step by step made into cells and rejects.

A model is one select. Each step is a ``cross join lateral`` whose ``offset 0`` keeps PostgreSQL from working a step out
again for each column that uses it:

``g``  the groups, those above first        ``x``  what stands at the path of each column, as text of whatever kind
``t``  the same where it is a value         ``c``  the cells
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cht_sync.forms.cells import BLANKS, KINDS, cell, literal, says_something, text_at
from cht_sync.forms.definition import Path
from cht_sync.forms.tables import REJECTED, Column, FormTable

NO_FIELD, NO_GROUP, NO_LIST, NO_OBJECT = "no field of the form", "not a group", "not a list", "not an object"
NO_SCALAR, TOO_LONG = "a list or an object", "too long for the row"
MOST_OF_VALUE = 200
# A row has to fit 8,160 bytes, where a value of more than 24 bytes may be put elsewhere and a shorter one may not.
# Source: https://www.postgresql.org/docs/current/storage-toast.html
MOST_BYTES, BYTES_OF_TEXT, BYTES_OF_OTHERS = 7_500, 27, 8
_FLEXIBLE = {"text", "text[]", "numeric"}
_COMPOSITE = "('array', 'object')"
_NESTED = """'strict $[*] ? (@.type() == "object" || @.type() == "array")'"""
_NO_ELEMENT = """'strict $[*] ? (@.type() != "object")'"""


@dataclass(frozen=True)
class _Reject:
    """What may be wrong with a row.

    :param found: whether it is, cheap to work out for each row.
    :param rows: a select of field, value and reason, for where something is.
    """

    found: str
    rows: str


def select_of(table: FormTable, source: str, standard: str, condition: str) -> str:
    """The select of a model.

    :param source: what stands behind ``from``; it gives ``own``, the object of each row as jsonb.
    :param standard: the columns before those of the form.
    :param condition: what stands behind ``where``.
    """
    return _Select(table).text(source, standard, condition)


def lists_of(table: FormTable, own: str) -> str:
    """Joins that lead from an object to the elements of the repeat of a table, each as ``elements_<level>.own``.

    :param own: the object that the repeat's path starts in.
    """
    joins, start = [], len(table.form.group)
    for level, repeat in enumerate((*table.outer, table.repeat), 1):
        value = own + "".join(f" -> {literal(key)}" for key in repeat[start:])
        joins.append(
            f"cross join lateral (select {value} as list offset 0) as list_{level}\n"
            f"cross join lateral jsonb_array_elements(\n"
            f"  case jsonb_typeof(list_{level}.list)\n"
            f"    when 'array' then list_{level}.list\n"
            f"    when 'object' then jsonb_build_array(list_{level}.list) else '[]'\n"
            "  end\n"
            f") with ordinality as elements_{level} (own, position)"
        )
        own, start = f"elements_{level}.own", len(repeat)
    return "\n".join(joins)


class _Select:
    def __init__(self, table: FormTable) -> None:
        self._table = table
        self._groups = {group: f"g{number}.o{number}" for number, group in enumerate(table.groups, 1)}
        self._groups[()] = "row_of.own"
        self._columns = list(enumerate(table.columns, 1))
        self._leaves = {column.path for column in table.columns}
        self._lists = {path: f"r.r{number}" for number, path in enumerate(table.children, 1)}

    def text(self, source: str, standard: str, condition: str) -> str:
        leaves = [(number, column) for number, column in self._columns if not column.part]
        found = [f"{self._at(column.path, '->>')} as x{number}" for number, column in leaves]
        texts = [
            f"{text_at(f'x.x{number}', self._at(column.path), 'row_of.blanks', column.kind != 'text')} as t{number}"
            for number, column in leaves
        ]
        steps = [
            *self._group_steps(),
            _step("r", [f"{self._at(path)} as {name.partition('.')[2]}" for path, name in self._lists.items()]),
            _step("x", found),
            _step("t", texts),
            _step("c", [f"{self._cell(number, column)} as c{number}" for number, column in self._columns]),
            _step("size", [f"{self._bytes()} <= {MOST_BYTES} as fits"] if self._is_wide else []),
        ]
        cells = [f"{self._shown(number)} as {_quoted(column.name)}" for number, column in self._columns]
        lines = ",\n  ".join([standard, *cells, f"{self._rejected()} as {REJECTED}"])
        joins = "\n".join(step for step in steps if step)
        return f"select\n  {lines}\nfrom {source}\n{joins}\nwhere\n  {condition}\n"

    def _group_steps(self) -> list[str]:
        return [
            _step(f"g{number}", [f"{self._at(group)} as o{number}"])
            for number, group in enumerate(self._table.groups, 1)
        ]

    def _at(self, path: Path, last: str = "->") -> str:
        """What stands at a path, by the innermost group that is looked into."""
        end = next(end for end in range(len(path) - 1, -1, -1) if path[:end] in self._groups)
        keys = "".join(f" -> {literal(key)}" for key in path[end:-1])
        return f"({self._groups[path[:end]]}{keys} {last} {literal(path[-1])})"

    def _found(self, number: int, column: Column) -> str:
        return f"x.x{number - column.part}"

    def _said(self, number: int, column: Column) -> str:
        return f"t.t{number - column.part}"

    def _cell(self, number: int, column: Column) -> str:
        if column.kind != "text[]":
            return cell(column.kind, self._said(number, column), column.part)
        said, value = self._said(number, column), self._at(column.path)
        is_list = f"ascii({self._found(number, column)}) = 91 and jsonb_typeof({value}) = 'array'"
        word = "nullif(btrim(one #>> '{}', row_of.blanks), '')"
        return (
            f"case when {said} is not null then {cell('text[]', said)} when {is_list} and not {value} @? {_NESTED}"
            f" then (select array_agg(word order by position) from (select {word} as word, position"
            f" from jsonb_array_elements({value}) with ordinality as listed (one, position)) as words"
            " where word is not null) end"
        )

    # What a wide row holds is counted, as PostgreSQL would refuse it and with it all others.

    @property
    def _is_wide(self) -> bool:
        return sum(map(_most_bytes, self._table.columns)) > MOST_BYTES

    def _bytes(self) -> str:
        sizes = []
        for number, column in self._columns:
            if column.kind == "text":
                sizes.append(f"coalesce(least(octet_length(c.c{number}) + 1, {BYTES_OF_TEXT}), 0)")
            else:
                sizes.append(f"case when c.c{number} is null then 0 else {_most_bytes(column)} end")
        return " + ".join(sizes)

    def _shown(self, number: int) -> str:
        return f"case when size.fits then c.c{number} end" if self._may_go(number) else f"c.c{number}"

    def _may_go(self, number: int) -> bool:
        """Whether a cell is left out where the row is too long: those that fit in any case stay."""
        return self._is_wide and sum(map(_most_bytes, self._table.columns[:number])) > MOST_BYTES

    def _rejected(self) -> str:
        rejects = [*self._of_groups(), *self._of_columns(), *self._of_lists()]
        if not rejects:
            return "null::jsonb"
        found = "\n      or ".join(one.found for one in rejects)
        rows = "\n        union all ".join(one.rows for one in rejects)
        return (
            f"case\n    when {found}\n    then (\n"
            f"      select jsonb_object_agg(field, jsonb_build_array(left(value, {MOST_OF_VALUE}), reason))\n"
            f"      from (\n        {rows}\n      ) as rejects (field, value, reason)\n    )\n  end"
        )

    def _of_groups(self) -> Iterator[_Reject]:
        for group, name in self._groups.items():
            if group in self._table.known:
                yield self._unknown(group, name)
            # A value stood there in another version.
            wrong = f"jsonb_typeof({name}) " + ("= 'array'" if group in self._leaves else "<> 'object'")
            yield self._reject(f"{wrong} and {says_something(name, 'row_of.blanks')}", group, name, NO_GROUP)

    def _unknown(self, group: Path, name: str) -> _Reject:
        keys = ", ".join(literal(key) for key in sorted(self._table.known[group]))
        rest = f"case when jsonb_typeof({name}) = 'object' then {name} - array[{keys}]::text[] end"
        return _Reject(
            f"({rest}) <> '{{}}'",
            f"select {self._field(group, 'unknown.key')}, unknown.value #>> '{{}}', {literal(NO_FIELD)} from"
            f" jsonb_each({rest}) as unknown where {says_something('unknown.value', 'row_of.blanks')}"
            f"{self._not_left_out(group)}",
        )

    def _not_left_out(self, group: Path) -> str:
        """The condition that a key is not left out by rule; globs without wildcards are among the known keys."""
        if not self._table.left_out:
            return ""
        pattern = literal("^(" + "|".join(map(_pattern, self._table.left_out)) + ")$")
        path = " || ".join([literal("/".join((*self._table.start, *group, ""))), "unknown.key"])
        return f" and ({path}) !~ {pattern} and ({path} || '/') !~ {pattern}"

    def _of_columns(self) -> Iterator[_Reject]:
        for number, column in self._columns:
            said, value = self._said(number, column), self._at(column.path)
            # Cheap: whether there is no cell although something stands there.
            odd = f"c.c{number} is null and {self._found(number, column)} <> ''"
            if not column.part and (composite := self._composite(column, value)):
                reason = KINDS[column.kind].reason if column.kind == "text[]" else NO_SCALAR
                yield self._reject(odd, column.path, value, reason, f"{odd} and {composite}")
            if not column.part and KINDS[column.kind].check:
                yield self._reject(
                    f"{said} is not null and c.c{number} is null", column.path, value, KINDS[column.kind].reason
                )
            if self._may_go(number):
                found = f"not size.fits and c.c{number} is not null"
                yield self._reject(found, column.path, value, TOO_LONG)

    def _composite(self, column: Column, value: str) -> str:
        """Whether a list or an object stands where a value belongs, and where no version of the form has one."""
        is_group, is_list = column.path in self._groups, column.path in self._lists
        if is_list:
            return ""
        types = "('array')" if is_group else _COMPOSITE
        found = f"jsonb_typeof({value}) in {types} and {value} not in ('[]', '{{}}')"
        if column.kind == "text[]":
            return f"{found} and (jsonb_typeof({value}) = 'object' or {value} @? {_NESTED})"
        return found

    def _of_lists(self) -> Iterator[_Reject]:
        for path, name in self._lists.items():
            if path not in self._leaves:
                no_list = f"jsonb_typeof({name}) not in {_COMPOSITE} and {says_something(name, 'row_of.blanks')}"
                yield self._reject(no_list, path, name, NO_LIST)
            is_list = f"jsonb_typeof({name}) = 'array'"
            yield _Reject(
                f"({is_list} and {name} @? {_NO_ELEMENT})",
                f"select {self._field(path, 'element.position')}, element.own #>> '{{}}', {literal(NO_OBJECT)} from"
                f" jsonb_array_elements(case when {is_list} then {name} else '[]' end)"
                " with ordinality as element (own, position)"
                f" where jsonb_typeof(element.own) <> 'object' and {says_something('element.own', 'row_of.blanks')}",
            )

    def _reject(self, found: str, path: Path, value: str, reason: str, exactly: str = "") -> _Reject:
        """A reject of the value at a path.

        :param exactly: where ``found`` only says that it may be one.
        """
        row = f"select {self._field(path)}, {value} #>> '{{}}', {literal(reason)} where {exactly or found}"
        return _Reject(f"({found})", row)

    def _field(self, path: Path, last: str = "") -> str:
        """The path of a value as people read it: from the report on, by the positions of elements."""
        pieces, start = [], len(self._table.form.group)
        for repeat, position in zip((*self._table.outer, self._table.repeat), self._table.positions, strict=False):
            pieces += [literal(".".join(repeat[start:]) + "."), f"{position_of(self._table, position)}::text", "'.'"]
            start = len(repeat)
        if path:
            pieces.append(literal(".".join(path) + ("." if last else "")))
        if last:
            pieces.append(f"{last}::text")
        return " || ".join(pieces) or literal("fields")


def position_of(table: FormTable, position: str) -> str:
    """The SQL of a column that numbers elements, behind the joins of :func:`lists_of`."""
    return f"elements_{table.positions.index(position) + 1}.position"


def _pattern(glob: str) -> str:
    """A glob of :func:`fnmatch.fnmatchcase` as a regular expression of PostgreSQL."""
    found, place = [], 0
    while place < len(glob):
        end = glob.find("]", place + 2) if glob[place] == "[" else -1
        if glob[place] in "*?":
            found.append(".*" if glob[place] == "*" else ".")
        elif end > 0:
            inside = glob[place + 1 : end].replace("\\", "\\\\")
            found.append(f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
            place = end
        else:
            found.append(
                glob[place]
                if glob[place].isalnum() or glob[place] in "_/-" or ord(glob[place]) > 127
                else f"\\{glob[place]}"
            )
        place += 1
    return "".join(found)


def _step(name: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    listed = ",\n    ".join(parts)
    return f"cross join lateral (\n  select\n    {listed}\n  offset 0\n) as {name}"


def row_step(own: str) -> str:
    """The first step: the object of each row, and what counts as a blank."""
    return _step("row_of", [f"{own} as own", f"{literal(BLANKS)} as blanks"])


def _most_bytes(column: Column) -> int:
    return BYTES_OF_TEXT if column.kind in _FLEXIBLE else BYTES_OF_OTHERS


def _quoted(name: str) -> str:
    return f'"{name}"'
