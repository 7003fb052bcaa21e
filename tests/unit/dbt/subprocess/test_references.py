import pytest

from cht_sync.dbt.subprocess.references import Target, model_of, pointed_to_staging, target_of

MOVED = {("v1", "contact"): "v1__next", ("Odd.name", 'a"b'): "aside", ("v1", "user"): "v1__next"}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("v1.contact (uuid) ON DELETE CASCADE", Target("v1", "contact", ("uuid",), True)),
        ("references V1.Contact(uuid, Name)", Target("v1", "contact", ("uuid", "name"), False)),
        ('"Odd.name"."a""b" ("X y")  on  delete\ncascade', Target("Odd.name", 'a"b', ("X y",), True)),
        ('"db"."v1"."contact"', Target("v1", "contact", (), False)),
        ("contact on delete set null", Target("", "contact", (), False)),
        ("", None),
        ("v1.contact, v1.person", None),
    ],
)
def test_the_target_of_a_foreign_key(text, target):
    assert target_of(text) == target


@pytest.mark.parametrize(
    ("text", "whole", "aside"),
    [
        ("v1.contact (uuid) ON DELETE CASCADE", True, '"v1__next"."contact" (uuid) ON DELETE CASCADE'),
        ('"db"."v1"."contact"', True, '"v1__next"."contact"'),
        ('references "Odd.name" . "a""b" (x)', True, 'references "aside"."a""b" (x)'),
        ("v1.contacts (uuid)", True, "v1.contacts (uuid)"),
        ("contact (uuid)", True, "contact (uuid)"),
        (
            "unique (x) references v1.user (id) deferrable",
            False,
            'unique (x) references "v1__next"."user" (id) deferrable',
        ),
        ("v1.contact", False, "v1.contact"),
    ],
)
def test_what_is_built_aside_is_pointed_to_there(text, whole, aside):
    assert pointed_to_staging(text, MOVED, whole) == aside


@pytest.mark.parametrize(
    ("text", "name"),
    [("ref('contact')", "contact"), (""" ref("p", 'contact') """, "contact"), ("v1.contact", None), ("ref()", None)],
)
def test_the_model_of_a_ref(text, name):
    assert model_of(text) == name
