from cht_sync.forms.definition import Choice, FormDefinition, FormField
from cht_sync.forms.merge import merge_definitions


def merged(*versions, repeats=()):
    repeats = [*repeats, *[()] * len(versions)]
    return merge_definitions(
        FormDefinition("v", f"Title {number}", str(number), fields, repeats[number])
        for number, fields in enumerate(versions)
    )


def asked(name, type="string", **more):
    return FormField(tuple(name.split("/")), type, **more)


def test_fields_of_all_versions_in_the_order_of_the_newest():
    form = merged((asked("a"), asked("b"), asked("c")), (asked("d"), asked("c"), asked("a")))
    assert ["/".join(each.path) for each in form.fields] == ["d", "c", "a", "b"]
    assert (form.title, form.version) == ("Title 1", "1")


def test_types_that_take_the_values_of_both():
    pairs = {("int", "int"): "int", ("int", "decimal"): "decimal", ("decimal", "int"): "decimal",
             ("select1", "select"): "select", ("int", "date"): "string", ("string", "int"): "string"}  # fmt: skip
    for (before, now), both in pairs.items():
        (field,) = merged((asked("a", before),), (asked("a", now),)).fields
        assert field.type == both


def test_labels_choices_and_who_is_asked():
    before = asked("a", labels={"en": "A"}, choices=(Choice("1", {"en": "old"}), Choice("2")), hidden=True)
    now = asked("a", choices=(Choice("1", {"en": "new"}), Choice("3")))
    (field,) = merged((before,), (now,)).fields
    assert field.labels == {"en": "A"}
    assert field.choices == (Choice("1", {"en": "new"}), Choice("2"), Choice("3"))
    assert not field.hidden
    # A version whose choices come from elsewhere may have any value.
    assert merged((before,), (asked("a"),)).fields[0].choices == ()


def test_a_value_that_became_a_repeat_is_a_repeat():
    form = merged((asked("kids"), asked("b")), (asked("kids/age"),), repeats=[(), (("kids",),)])
    assert [each.path for each in form.fields] == [("kids", "age"), ("b",)]
    assert form.repeats == (("kids",),)
    back = merged((asked("kids/age"),), (asked("kids"),), repeats=[(("kids",),)])
    assert [each.path for each in back.fields] == [("kids", "age")]
