"""Writes a definition as the XForm that it would be read from."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from cht_sync.forms.definition import FormDefinition, FormField, Path

_WITH_CHOICES = {"select", "select1", "rank"}


def xform_text(definition: FormDefinition, choices_in_instances: bool = False) -> bytes:
    """The XForm of a definition.

    :param choices_in_instances: choices stand in secondary instances and not in the controls.
    """
    return _Writer(definition, choices_in_instances).text().encode()


class _Writer:
    def __init__(self, definition: FormDefinition, choices_in_instances: bool) -> None:
        self._definition, self._apart = definition, choices_in_instances
        self._texts: dict[str, dict[str, str]] = {}
        self._instances: list[str] = []

    def text(self) -> str:
        definition = self._definition
        controls = "".join(self._below((), definition.fields))
        languages = dict.fromkeys(language for labels in self._texts.values() for language in labels)
        itext = "".join(
            f"<translation lang={quoteattr(language)}>"
            + "".join(
                f'<text id={quoteattr(name)}><value form="image">jr://x</value><value>{escape(labels[language])}</value></text>'
                for name, labels in self._texts.items()
                if language in labels
            )
            + "</translation>"
            for language in languages
        )
        version = "" if definition.version is None else f" version={quoteattr(definition.version)}"
        return (
            '<?xml version="1.0"?><h:html xmlns="http://www.w3.org/2002/xforms" xmlns:h="http://www.w3.org/1999/xhtml"'
            ' xmlns:jr="http://openrosa.org/javarosa" xmlns:orx="http://openrosa.org/xforms">'
            f"<h:head><h:title>{escape(definition.title)}</h:title><model><itext>{itext}</itext>"
            f'<instance><data id="x"{version}>{_tree((), definition.fields)}</data></instance>'
            f"{''.join(self._instances)}{''.join(map(_bind, definition.fields))}</model></h:head>"
            f"<h:body>{controls}</h:body></h:html>"
        )

    def _below(self, above: Path, fields: Iterable[FormField]) -> Iterable[str]:
        for path, inside in _parted(above, fields):
            if inside[0].path == path:
                yield self._control(inside[0])
                continue
            controls = "".join(self._below(path, inside))
            if path in self._definition.repeats:
                controls = f"<repeat nodeset={quoteattr(_address(path))}>{controls}</repeat>"
            yield f"<group ref={quoteattr(_address(path))}>{controls}</group>"

    def _control(self, asked: FormField) -> str:
        if asked.hidden:
            return ""
        kind = asked.type if asked.type in _WITH_CHOICES else "input"
        name = f"{_address(asked.path)}:label"
        items = []
        if self._apart and asked.choices:
            listed = f"list{len(self._instances)}"
            rows = []
            for number, choice in enumerate(asked.choices):
                self._texts[f"{listed}-{number}"] = dict(choice.labels)
                rows.append(f"<item><itextId>{listed}-{number}</itextId><name>{escape(choice.value)}</name></item>")
            self._instances.append(f'<instance id="{listed}"><root>{"".join(rows)}</root></instance>')
            items.append(
                f'<itemset nodeset="instance(\'{listed}\')/root/item[x=1]"><value ref="name"/>'
                '<label ref="jr:itext(itextId)"/></itemset>'
            )
        else:
            for number, choice in enumerate(asked.choices):
                label = self._label(f"{name}-{number}", dict(choice.labels))
                items.append(f"<item>{label}<value>{escape(choice.value)}</value></item>")
        label = self._label(name, dict(asked.labels))
        return f"<{kind} ref={quoteattr(_address(asked.path))}>{label}{''.join(items)}</{kind}>"

    def _label(self, name: str, labels: dict[str, str]) -> str:
        if not labels:
            return ""
        if set(labels) == {""}:
            return f"<label>{escape(labels[''])}</label>"
        self._texts[name] = labels
        return f"<label ref={quoteattr(f'jr:itext({name!r})')}/>"


def _bind(asked: FormField) -> str:
    declared = "string" if asked.type in _WITH_CHOICES else asked.type
    more = ' readonly="true()"' if asked.note else ""
    return f"<bind nodeset={quoteattr(_address(asked.path))} type={quoteattr(declared)}{more}/>"


def _tree(above: Path, fields: Iterable[FormField]) -> str:
    found = []
    for path, inside in _parted(above, fields):
        content = "" if inside[0].path == path else _tree(path, inside)
        found.append(f"<{path[-1]}>{content}</{path[-1]}>")
    return "".join(found)


def _parted(above: Path, fields: Iterable[FormField]) -> Iterable[tuple[Path, list[FormField]]]:
    parts: dict[Path, list[FormField]] = {}
    for each in fields:
        parts.setdefault(each.path[: len(above) + 1], []).append(each)
    return parts.items()


def _address(path: Path) -> str:
    return "/".join(("/data", *path))
