"""One form of its versions: reports of all of them live side by side for years."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cht_sync.forms.definition import Choice, FormDefinition, FormField, Path


def merge_definitions(definitions: Iterable[FormDefinition]) -> FormDefinition:
    """The fields of all versions, as the newest of them that has a field asks for it.

    Where versions differ in what a value is, the field has the type that takes the values of both; choices of all
    versions stay. A field that once stood in a repeat and once did not is in the place of the newest version; what was
    a value in one version and is a repeat in another is a repeat.

    :param definitions: of one code, oldest first; at least one.
    """
    listed = list(definitions)
    newest = listed[-1]
    fields: dict[Path, FormField] = {}
    repeats: dict[Path, None] = {}
    for definition in listed:
        for each in definition.fields:
            fields[each.path] = _merged(fields.get(each.path), each)
        repeats |= dict.fromkeys(definition.repeats)
    asked = {each.path for each in newest.fields}
    in_order = [each.path for each in newest.fields if each.path not in repeats]
    gone = [path for path in fields if path not in asked and path not in repeats]
    return replace(
        newest, fields=tuple(fields[path] for path in (*in_order, *gone)), repeats=tuple(sorted(repeats, key=len))
    )


def _merged(before: FormField | None, now: FormField) -> FormField:
    if before is None:
        return now
    choices: dict[str, Choice] = {each.value: each for each in before.choices}
    choices |= {each.value: each for each in now.choices}
    return replace(
        now,
        type=_wider(before.type, now.type),
        labels=now.labels or before.labels,
        choices=tuple(choices.values()) if before.choices and now.choices else (),
        note=before.note and now.note,
        hidden=before.hidden and now.hidden,
    )


def _wider(before: str, now: str) -> str:
    """The type of which every value of both is one."""
    if before == now:
        return now
    pair = {before, now}
    if pair == {"int", "decimal"}:
        return "decimal"
    if pair == {"select", "select1"}:
        return "select"
    return "string"
