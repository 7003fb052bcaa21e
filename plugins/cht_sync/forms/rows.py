"""What the rows of a form's table are made of: a report, a contact, or the elements of a repeat of one."""

from __future__ import annotations

from dataclasses import dataclass

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import BLANKS, literal, text_of
from cht_sync.forms.contact_form import ContactForm
from cht_sync.forms.hierarchy import Level, Lineage
from cht_sync.forms.model_sql import lists_of, position_of, row_step
from cht_sync.forms.names import form_key
from cht_sync.forms.tables import FormTable

# What the starter's models take of an id: an entry of an index holds 2,704 bytes.
LONGEST_ID = 2_600
# The version of a form as a report names it: a text, or when it was put in place, in milliseconds.
_VERSION = (
    "(case when jsonb_typeof(body.form_version) = 'object' then body.form_version -> 'time' else body.form_version end)"
)
_RAW = """{{{{ ref('{model}') }}}} as {model}
inner join {raw} as raw
  on raw._id = {model}.uuid
  and raw._deleted is not true
"""
_REPORT = """cross join lateral jsonb_to_record(
  case when jsonb_typeof(raw.doc) = 'object' then raw.doc else '{}' end
) as body (
  fields jsonb, form_version jsonb
)"""
# What is taken away is nothing that is read, and what is left is unpacked once.
_CONTACT = """cross join lateral (
  select case when jsonb_typeof(raw.doc) = 'object' then raw.doc - '_attachments' else '{}' end as own
  offset 0
) as body"""


@dataclass(frozen=True)
class Rows:
    """What a model selects its rows from.

    :param source: what stands behind ``from``, as :func:`~cht_sync.forms.model_sql.select_of` wants it.
    :param standard: the columns before those of the form.
    :param condition: which rows are of the form.
    """

    source: str
    standard: str
    condition: str


def followed_model(form: CatalogueForm) -> str:
    """The model that the rows of a form's tables follow."""
    return "contact" if isinstance(form, ContactForm) else "data_record"


def arrives_as(form: CatalogueForm) -> str:
    """What the config of a form's models names its documents by: see ``meta.form``."""
    return form_key(contact_code(form.contact_type) if isinstance(form, ContactForm) else form.code)


def contact_code(contact_type: str) -> str:
    """What stands for the code of a form where documents are contacts of a type."""
    return f"contact:{contact_type}"


def rows_of(table: FormTable, raw: str) -> Rows:
    """What the rows of a table are made of.

    :param raw: the table of raw documents, as Jinja.
    """
    form, model = table.form, followed_model(table.form)
    source = _RAW.format(model=model, raw=raw)
    if isinstance(form, ContactForm):
        source, own = source + _CONTACT, "body.own"
        condition = f"contact.contact_type = {literal(form.contact_type)}"
    else:
        source, own = source + _REPORT, "body.fields"
        condition = f"data_record.form = {literal(form.code)}"
    if table.repeat:
        source = f"{source}\n{lists_of(table, own)}"
        own = f"elements_{len(table.positions)}.own"
        condition += f"\n  and jsonb_typeof({own}) = 'object' and {own} <> '{{}}'"
    source = f"{source}\n{row_step(own)}"
    if isinstance(form, ContactForm) and form.lineage.levels and not table.repeat:
        source = f"{source}\n{_lineage_steps(form.lineage)}"
    return Rows(source, ",\n  ".join(_standard(table, model)), condition)


def _standard(table: FormTable, model: str) -> list[str]:
    form = table.form
    if table.repeat:
        numbers = [f"{position_of(table, name)} as {name}" for name in table.positions]
        return [f"{model}.uuid", f"{model}.saved_timestamp", *numbers]
    if isinstance(form, ContactForm):
        levels = [f"{_above(level, form.lineage)} as {level.column}" for level in form.lineage.levels]
        first = [f"contact.{name}" for name in ("uuid", "saved_timestamp", "reported", "parent_uuid")]
        contact = _id("(row_of.own #> '{contact,_id}')")
        return [*first, *levels, f"{contact} as contact_uuid", "contact.name"]
    return [
        "data_record.uuid",
        "data_record.saved_timestamp",
        "data_record.reported",
        "data_record.contact_uuid as reported_by",
        "data_record.parent_uuid as reported_by_parent",
        "data_record.patient_id",
        "data_record.place_id",
        f"{text_of(_VERSION, literal(BLANKS), False)} as form_version",
    ]


def _lineage_steps(lineage: Lineage) -> str:
    """The ids above a contact, nearest first, and how many they are: up to the first that is missing."""
    # One more than there may be: a lineage that is too high is none of the hierarchy.
    number = max(lineage.heights) + 1
    paths = (",".join(["parent"] * level) for level in range(1, number + 1))
    ids = ",\n      ".join(_id(f"(row_of.own #> '{{{path},_id}}')") for path in paths)
    return (
        f"cross join lateral (\n  select array[\n      {ids}\n    ] as ids\n  offset 0\n) as above\n"
        "cross join lateral (\n"
        f"  select coalesce(array_position(above.ids, null::text) - 1, {number}) as number\n  offset 0\n) as height"
    )


def _above(level: Level, lineage: Lineage) -> str:
    if not level.type:
        return f"above.ids[{level.number}]"
    # A subscript below 1 gives null.
    heights = ", ".join(map(str, lineage.heights))
    return f"case when height.number in ({heights}) then above.ids[height.number - {level.number - 1}] end"


def _id(json: str) -> str:
    """An id as the starter's models take it."""
    text = f"{json} #>> '{{}}'"
    return (
        f"case when jsonb_typeof({json}) in ('string', 'number') and octet_length({text}) <= {LONGEST_ID}"
        f" and btrim({text}, row_of.blanks) <> '' then {text} end"
    )
