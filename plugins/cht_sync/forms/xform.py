"""Reads the XForm that a document ``form:<code>`` has as an attachment.

Source: https://getodk.github.io/xforms-spec/
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from cht_sync.forms.definition import LONGEST_PATH, Choice, FormDefinition, FormField, Labels, Path, is_too_long

MOST_BYTES = 5 * 1024 * 1024
MOST_FIELDS = 20_000
# A longer list is one of places or people, which changes without the form.
MOST_CHOICES = 1_000
# Deeper than any form; libxml2 itself ends at 256.
MOST_LEVELS = 100
ITEXT = "jr:itext("
WITH_CHOICES = {"select", "select1", "rank"}
# What a person never fills in: a note is a control that is read only, or a trigger, which stores "OK".
PRIMITIVE = {"true()", "1", "true"}


class FormDefinitionError(Exception):
    """A definition of a form that cannot be read, in one sentence without any of its content."""


def read_xform(code: str, content: bytes) -> FormDefinition:
    """What an XForm asks.

    :param code: of the form, as reports name it.
    :param content: the attachment.
    :raises FormDefinitionError: if it is too large, no XML, has a document type (which could define entities), or no
        primary instance.
    """
    root = _parse(content)
    model = _first(root, "model")
    instance = None if model is None else next(_named(model, "instance"), None)
    primary = None if instance is None else next(_elements(instance), None)
    if model is None or primary is None:
        raise FormDefinitionError("it has no primary instance: it is no XForm")
    return _Reader(root, model, primary).definition(code)


def _parse(content: bytes) -> etree._Element:
    if len(content) > MOST_BYTES:
        raise FormDefinitionError(f"it has {len(content)} bytes, more than {MOST_BYTES}")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        place = f" in line {error.lineno}" if isinstance(error, etree.XMLSyntaxError) else ""
        raise FormDefinitionError(f"it is no XML{place}") from None
    if root.getroottree().docinfo.doctype:
        raise FormDefinitionError("it has a document type, which no form needs: it could define entities")
    return root


class _Reader:
    """One XForm while it is read."""

    def __init__(self, root: etree._Element, model: etree._Element, primary: etree._Element) -> None:
        self._root, self._model, self._primary = root, model, primary
        self._base = f"/{_name(primary)}"
        self._texts = _texts(model)
        self._lists = {each.get("id", ""): each for each in _named(model, "instance")}
        self._items: dict[str, list[dict[str, str]]] = {}
        self._binds = {_reference(each.get("nodeset")): each for each in model.iter() if _name(each) == "bind"}
        self._controls = {
            _reference(each.get("ref") or each.get("nodeset")): each
            for each in root.iter()
            if _name(each) in {"input", "select", "select1", "rank", "upload", "range", "trigger", "secret"}
        }
        self._repeats = {_reference(each.get("nodeset")) for each in root.iter() if _name(each) == "repeat"}

    def definition(self, code: str) -> FormDefinition:
        repeats: list[Path] = []
        fields: dict[Path, FormField] = {}
        for path, address, repeat in self._walk(self._primary, (), self._base, None):
            if address in self._repeats:
                repeats += [path] if path not in repeats else []
            elif path not in fields:
                fields[path] = self._field(path, address, repeat)
            if len(fields) > MOST_FIELDS:
                raise FormDefinitionError(f"it has more than {MOST_FIELDS} fields")
        title = _first(self._root, "title")
        version = self._primary.get("version") or _any_namespace(self._primary, "version")
        return FormDefinition(
            code=code,
            title=_text(title) if title is not None else "",
            version=version,
            fields=tuple(fields.values()),
            repeats=tuple(repeats),
        )

    def _walk(
        self, element: etree._Element, above: Path, address: str, repeat: Path | None
    ) -> Iterator[tuple[Path, str, Path | None]]:
        """Every leaf and every repeat below an element: path in reports, address in the form, and the repeat around."""
        if len(above) > MOST_LEVELS:
            raise FormDefinitionError(f"it has groups in groups, more than {MOST_LEVELS} deep")
        for child in _elements(element):
            # Reports have a prefix as a part of the name.
            path = (*above, f"{child.prefix}:{_name(child)}" if child.prefix else _name(child))
            if is_too_long(path):
                raise FormDefinitionError(f"it has a field whose path is longer than {LONGEST_PATH} bytes")
            here = f"{address}/{_name(child)}"
            is_repeat, is_group = here in self._repeats, next(_elements(child), None) is not None
            if is_repeat or not is_group:
                yield path, here, repeat
            if is_group:
                yield from self._walk(child, path, here, path if is_repeat else repeat)

    def _field(self, path: Path, address: str, repeat: Path | None) -> FormField:
        bind, control = self._binds.get(address), self._controls.get(address)
        kind = "" if control is None else _name(control)
        declared = "" if bind is None else bind.get("type", "")
        prefix, _, plain = declared.rpartition(":")
        declared = declared if prefix == "db" else plain
        if kind in WITH_CHOICES and declared in {"", "string"}:
            declared = kind
        read_only = bind is not None and bind.get("readonly", "").strip() in PRIMITIVE
        calculated = bind is not None and bind.get("calculate") is not None
        return FormField(
            path=path,
            type=declared or "string",
            labels={} if control is None else self._label_of(control),
            choices=() if control is None or kind not in WITH_CHOICES else self._choices(control),
            repeat=repeat,
            note=kind == "trigger" or (kind == "input" and read_only and not calculated),
            hidden=control is None,
        )

    def _choices(self, control: etree._Element) -> tuple[Choice, ...]:
        found = {}
        for item in _named(control, "item"):
            value = next(_named(item, "value"), None)
            if value is not None and _text(value):
                found[_text(value)] = self._label_of(item)
        for itemset in _named(control, "itemset"):
            found |= self._from_instance(itemset)
        listed = tuple(Choice(value, labels) for value, labels in found.items())
        return listed if len(listed) <= MOST_CHOICES else ()

    def _from_instance(self, itemset: etree._Element) -> dict[str, Labels]:
        """Choices that a secondary instance lists; its filter is a matter of each report, so all of them."""
        nodeset = itemset.get("nodeset", "")
        named = nodeset.partition("instance(")[2].partition(")")[0].strip().strip("'\"")
        value, label = next(_named(itemset, "value"), None), next(_named(itemset, "label"), None)
        value_name = "name" if value is None else value.get("ref", "name")
        label_ref = "" if label is None else label.get("ref", "")
        label_name = label_ref.removeprefix(ITEXT).removesuffix(")").strip()
        found: dict[str, Labels] = {}
        for texts in self._items_of(named):
            if not texts.get(value_name):
                continue
            shown = texts.get(label_name, "")
            by_language = self._texts.get(shown, {}) if label_ref.startswith(ITEXT) else {"": shown} if shown else {}
            found[texts[value_name]] = by_language
        return found

    def _items_of(self, named: str) -> list[dict[str, str]]:
        """The items of a secondary instance; none of one that is too long."""
        listed = self._lists.get(named)
        if named not in self._items:
            items = [] if listed is None else [each for each in listed.iter() if _name(each) == "item"]
            kept = items if len(items) <= MOST_CHOICES else []
            self._items[named] = [{_name(each): _text(each) for each in _elements(item)} for item in kept]
        return self._items[named]

    def _label_of(self, control: etree._Element) -> Labels:
        label = next(_named(control, "label"), None)
        if label is None:
            return {}
        reference = label.get("ref", "")
        if reference.startswith(ITEXT):
            return self._texts.get(reference.removeprefix(ITEXT).removesuffix(")").strip().strip("'\""), {})
        return {"": _text(label)} if _text(label) else {}


def _texts(model: etree._Element) -> dict[str, dict[str, str]]:
    """Text by its id and language, of ``itext``."""
    texts: dict[str, dict[str, str]] = {}
    for translation in (each for each in model.iter() if _name(each) == "translation"):
        language = translation.get("lang", "")
        for text in _named(translation, "text"):
            # Others are for pictures and sounds.
            plain = next((each for each in _named(text, "value") if each.get("form") is None), None)
            if plain is not None and _text(plain):
                texts.setdefault(text.get("id", ""), {})[language] = _text(plain)
    return texts


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _elements(element: etree._Element) -> Iterator[etree._Element]:
    return (each for each in element if isinstance(each.tag, str))


def _named(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (each for each in _elements(element) if _name(each) == name)


def _first(root: etree._Element, name: str) -> etree._Element | None:
    return next((each for each in root.iter() if _name(each) == name), None)


def _any_namespace(element: etree._Element, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if etree.QName(key).localname == name), None)


def _text(element: etree._Element) -> str:
    """Its text, with that of elements inside; what an ``output`` would show is a value of a report."""
    return " ".join("".join(element.itertext()).split())


def _reference(nodeset: str | None) -> str:
    return "/".join(part.rpartition(":")[2] for part in (nodeset or "").strip().split("/"))
