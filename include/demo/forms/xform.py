"""Writes a form as the XForm that a server would hold.

Source: https://getodk.github.io/xforms-spec/
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from include.demo.forms.questions import Form, Group, Question, Texts

LANGUAGES = ("en", "sw")
NAMESPACES = {
    "xmlns": "http://www.w3.org/2002/xforms",
    "xmlns:h": "http://www.w3.org/1999/xhtml",
    "xmlns:jr": "http://openrosa.org/javarosa",
    "xmlns:orx": "http://openrosa.org/xforms",
}


def xform(form: Form, version: str) -> bytes:
    """Return the file, the same for the same form and version.

    :param form: what it asks.
    :param version: as it names it itself.
    """
    return _XForm(form, version).content()


class _XForm:
    def __init__(self, form: Form, version: str) -> None:
        self._root = Element("h:html", NAMESPACES)
        head = SubElement(self._root, "h:head")
        SubElement(head, "h:title").text = form.title[0]
        self._model = SubElement(head, "model")
        self._itext = SubElement(self._model, "itext")
        self._translations = [SubElement(self._itext, "translation", {"lang": each}) for each in LANGUAGES]
        instance = SubElement(SubElement(self._model, "instance"), form.root, {"id": form.code, "version": version})
        body = SubElement(self._root, "h:body", {"class": "pages"})
        for item in form.items:
            self._add(item, instance, f"/{form.root}", body)
        meta = SubElement(instance, "meta", {"tag": "hidden"})
        SubElement(meta, "instanceID")
        self._bind(
            f"/{form.root}/meta/instanceID",
            {"type": "string", "readonly": "true()", "calculate": "concat('uuid:', uuid())"},
        )

    def content(self) -> bytes:
        indent(self._root)
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(self._root, encoding="utf-8") + b"\n"

    def _add(self, item: Question | Group, instance: Element, above: str, body: Element) -> None:
        path = f"{above}/{item.name}"
        if isinstance(item, Group):
            self._add_group(item, instance, path, body)
        else:
            SubElement(instance, item.name)
            self._add_question(item, path, body)

    def _add_group(self, group: Group, instance: Element, path: str, body: Element) -> None:
        inside = SubElement(instance, group.name, {"jr:template": ""} if group.repeated else {})
        if group.relevant:
            self._bind(path, {"relevant": group.relevant})
        shown = SubElement(body, "group", {"ref": path, "appearance": "field-list"})
        self._label(shown, path, group.label)
        if group.repeated:
            shown = SubElement(shown, "repeat", {"nodeset": path})
        for item in group.items:
            self._add(item, inside, path, shown)

    def _add_question(self, question: Question, path: str, body: Element) -> None:
        said = {"type": question.type, "calculate": question.calculate, "readonly": "true()" * question.read_only}
        self._bind(path, {key: value for key, value in said.items() if value})
        if not question.control:
            return
        control = SubElement(body, question.control, {"ref": path})
        self._label(control, path, question.label)
        for value, *label in question.choices:
            item = SubElement(control, "item")
            self._label(item, f"{path}/{value}", (label[0], label[1]))
            SubElement(item, "value").text = value

    def _bind(self, path: str, said: dict[str, str]) -> None:
        SubElement(self._model, "bind", {"nodeset": path, **said})

    def _label(self, shown: Element, path: str, label: Texts) -> None:
        if not label[0]:
            return
        SubElement(shown, "label", {"ref": f"jr:itext('{path}:label')"})
        for translation, said in zip(self._translations, label, strict=True):
            SubElement(SubElement(translation, "text", {"id": f"{path}:label"}), "value").text = said
