"""XForms are read as the app reads them, and hostile ones are refused with one sentence."""

from __future__ import annotations

import time

import pytest

from cht_sync.forms import xform
from cht_sync.forms.definition import Choice
from cht_sync.forms.xform import FormDefinitionError, read_xform

NAMESPACES = 'xmlns="http://www.w3.org/2002/xforms" xmlns:h="http://www.w3.org/1999/xhtml"'
LANGUAGES = """
<itext>
  <translation lang="en">
    <text id="/v/name:label"><value>What is the <output value="/v/n"/> name?</value><value form="image">jr://a</value></text>
    <text id="yes"><value>Yes</value></text><text id="picture"><value form="image">jr://b</value></text>
  </translation>
  <translation lang="sw"><text id="/v/name:label"><value>Jina ni nani?</value></text>
    <text id="yes"><value>Ndiyo</value></text></translation>
</itext>
<instance id="yes_no"><root>
  <item><name>yes</name><itextId>yes</itextId></item><item><name>no</name><itextId>gone</itextId></item>
  <item><itextId>yes</itextId></item>
</root></instance>
<instance id="places" src="jr://instance/places.xml"/>
"""
SHOWN = """
<input ref="/v/name"><label ref="jr:itext('/v/name:label')"/></input>
<select1 ref="/v/sick"><label>Sick {{ 1 }} '"; --?</label>
  <itemset nodeset="instance('yes_no')/root/item[ name != 'x' ]"><value ref="name"/><label ref="jr:itext(itextId)"/></itemset>
</select1>
<select ref="/v/signs"><label> Which
    signs? </label><item><label>Fever</label><value>fever</value></item><item><value>cough</value></item></select>
<select1 ref="/v/place"><itemset nodeset="instance('places')/root/item"><value ref="name"/></itemset></select1>
<rank ref="/v/order"/><input ref="/v/told"/><trigger ref="/v/read"/>
<group ref="/v/kids"><repeat nodeset="/v/kids"><input ref="/v/kids/age"/>
  <repeat nodeset="/v/kids/more/toys"><input ref="/v/kids/more/toys/price"/></repeat></repeat></group>
"""
TREE = """
<n/><name/><sick/><signs/><place/><order/><told/><read/><sum/><kids template=""><age/><more><toys><price/></toys></more></kids>
<kids><age/><more><toys><price/></toys></more></kids><empty/><odd:meta xmlns:odd="http://openrosa.org/xforms"><odd:instanceID/></odd:meta>
"""
BINDS = """
<bind nodeset="/v/n" type="int"/><bind nodeset="/v/sick" type="string"/><bind nodeset="/v/signs" type="select"/>
<bind nodeset="/v/told" readonly="true()" type="string"/><bind nodeset="/v/sum" calculate="1 + 1" type="string"/>
<bind nodeset="/v/kids/age" type="xsd:int"/><bind nodeset="/v/kids/more/toys/price" type="decimal"/>
<bind nodeset="/v/place" type="db:person"/><bind nodeset="/v/order"/>
"""


def form(tree=TREE, binds=BINDS, more=LANGUAGES, shown=SHOWN, title="A visit", version=' version="2024-05-03"'):
    return (
        f'<?xml version="1.0"?><h:html {NAMESPACES}><h:head><h:title>{title}</h:title><model><instance>'
        f'<v id="v"{version}>{tree}</v></instance>{more}{binds}</model></h:head><h:body>{shown}</h:body></h:html>'
    ).encode()


@pytest.fixture(scope="module")
def visit():
    return read_xform("visit", form())


@pytest.fixture(scope="module")
def fields(visit):
    return {"/".join(each.path): each for each in visit.fields}


def test_what_it_asks(visit, fields):
    assert (visit.code, visit.title, visit.version) == ("visit", "A visit", "2024-05-03")
    assert list(fields) == [
        "n", "name", "sick", "signs", "place", "order", "told", "read", "sum", "kids/age", "kids/more/toys/price",
        "empty", "odd:meta/odd:instanceID",
    ]  # fmt: skip
    assert {name: each.type for name, each in fields.items() if each.type != "string"} == {
        "n": "int", "sick": "select1", "signs": "select", "place": "db:person", "order": "rank", "kids/age": "int",
        "kids/more/toys/price": "decimal",
    }  # fmt: skip


def test_repeats_in_repeats(visit, fields):
    assert visit.repeats == (("kids",), ("kids", "more", "toys"))
    assert fields["kids/age"].repeat == ("kids",)
    assert fields["kids/more/toys/price"].repeat == ("kids", "more", "toys")
    assert fields["name"].repeat is None


def test_labels_by_language(fields):
    assert fields["name"].labels == {"en": "What is the name?", "sw": "Jina ni nani?"}
    assert fields["sick"].labels == {"": """Sick {{ 1 }} '"; --?"""}
    assert fields["signs"].labels == {"": "Which signs?"}
    assert fields["kids/age"].labels == {}


def test_choices(fields):
    assert fields["sick"].choices == (Choice("yes", {"en": "Yes", "sw": "Ndiyo"}), Choice("no", {}))
    assert fields["signs"].choices == (Choice("fever", {"": "Fever"}), Choice("cough", {}))
    # Of a list elsewhere nobody knows what is in it.
    assert fields["place"].choices == ()


def test_notes_and_what_nobody_is_asked(fields):
    assert {name for name, each in fields.items() if each.note} == {"told", "read"}
    assert {name for name, each in fields.items() if each.hidden} == {"n", "sum", "empty", "odd:meta/odd:instanceID"}


def test_a_long_list_is_one_of_places(monkeypatch):
    monkeypatch.setattr(xform, "MOST_CHOICES", 1)
    assert not any(each.choices for each in read_xform("v", form()).fields)


def test_the_least_of_a_form():
    least = read_xform("v", b"<a><model><instance><v/></instance></model></a>")
    assert (least.title, least.version, least.fields, least.repeats) == ("", None, (), ())


def bomb():
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE a [<!ENTITY a0 "ha">{entities}]>'.encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is no XML in line 1"),
        (b"\0\1\2", "it is no XML in line 1"),
        (form()[:500], "it is no XML in line"),
        (b'{"json": 1}', "it is no XML in line 1"),
        (b"<a><model/></a>", "it has no primary instance: it is no XForm"),
        (b"<a><model><instance/></model></a>", "it has no primary instance: it is no XForm"),
        (b"<html><body>Sign in</body></html>", "it has no primary instance: it is no XForm"),
        (bomb() + b"<a>&a11;</a>", "it has a document type|it is no XML"),
        (bomb() + b'<a b="&a11;"/>', "it has a document type|it is no XML"),
        (b"<!DOCTYPE a><a/>", "it has a document type, which no form needs"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>', "it has a document type"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "it has a document type"),
        (b'<?xml version="1.0" encoding="UTF-16"?><a/>', "it is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>'.encode("utf-16"), "it has a document type"),
        (b"<a>" * 300 + b"</a>" * 300, "it is no XML in line 1"),
        (form(tree="<a>" * 120 + "</a>" * 120), "it has groups in groups, more than 100 deep"),
        (form(tree="".join(f"<a{n}/>" for n in range(20_001))), "it has more than 20000 fields"),
        (form(tree=f"<{'ä' * 800}/>"), "it has a field whose path is longer than 1500 bytes"),
        (b"<a>" + b" " * 20_000_000 + b"</a>", "it has 20000007 bytes, more than 5242880"),
    ],
)  # fmt: skip
def test_a_hostile_form_is_refused_with_one_sentence(content, sentence):
    began = time.monotonic()
    with pytest.raises(FormDefinitionError, match=f"^({sentence})") as refused:
        read_xform("v", content)
    assert time.monotonic() - began < 5
    assert "passwd" not in str(refused.value)
    assert "Sign in" not in str(refused.value)


def test_a_large_form_takes_no_longer_than_it_is_large():
    items = "".join(f"<item><name>c{n}</name><itextId>yes</itextId></item>" for n in range(1_000))
    lists = f'<instance id="many"><root>{items}</root></instance>'
    names = [f"f{number}" for number in range(1_700)]
    shown = "".join(
        f'<select1 ref="/v/{name}"><itemset nodeset="instance(\'many\')/root/item"><value ref="name"/></itemset></select1>'
        for name in names
    )
    began = time.monotonic()
    read = read_xform("v", form("".join(f"<{name}/>" for name in names), "", lists, shown))
    assert len(read.fields) == 1_700
    assert len(read.fields[-1].choices) == 1_000
    assert time.monotonic() - began < 20
