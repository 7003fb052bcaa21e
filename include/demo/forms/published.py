"""The documents of forms, and which version of a form a report was made with."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from include.demo.forms.app import APP_FORMS, pregnancy
from include.demo.forms.contact import CONTACT_FORMS
from include.demo.forms.questions import Form
from include.demo.forms.xform import xform
from include.demo.plan import DAY

Doc = dict[str, Any]
# Before the newest documents; the second lies in the middle of the reports, which are of 720 days.
FIRST_DAYS, SECOND_DAYS = 800, 360
# What the deployment begins with, and what takes the place of one of them later.
FIRST = (*APP_FORMS, *CONTACT_FORMS)
SECOND = {f"form:{form.code}": form for form in (pregnancy(2),)}


@dataclass(frozen=True)
class Version:
    """A form as it was published.

    :param time: when, in milliseconds since 1970.
    """

    form: Form
    time: int

    @property
    def content(self) -> bytes:
        """Its XForm."""
        return xform(self.form, f"{datetime.fromtimestamp(self.time / 1000, UTC):%Y-%m-%d %H-%M}")

    @property
    def name(self) -> Doc:
        """What documents name it by."""
        return {"time": self.time, "sha256": hashlib.sha256(self.content).hexdigest()}

    @property
    def document(self) -> Doc:
        """The document `form:<code>` with its attachment."""
        code = self.form.code
        doc: Doc = {"_id": f"form:{code}", "type": "form", "internalId": code, "title": self.form.title[0]}
        doc |= {"icon": "icon-form", "xmlVersion": self.name}
        if self.form.context:
            doc["context"] = {each: each in self.form.context for each in ("person", "place")}
        data = base64.b64encode(self.content).decode()
        return {**doc, "_attachments": {"xml": {"content_type": "application/xml", "data": data}}}


def first_versions(now_ms: int) -> tuple[Version, ...]:
    """Return the forms that a deployment begins with.

    :param now_ms: time of its newest documents.
    """
    return tuple(Version(form, now_ms - FIRST_DAYS * DAY) for form in FIRST)


def second_version(doc: Doc) -> Doc | None:
    """Return the document of a form as it is published again later, None where it is not.

    :param doc: the first one, with its revision.
    """
    form = SECOND.get(doc["_id"])
    if form is None:
        return None
    return {**Version(form, doc["xmlVersion"]["time"] + (FIRST_DAYS - SECOND_DAYS) * DAY).document, "_rev": doc["_rev"]}


def version_at(code: str, moment: int, now_ms: int) -> tuple[int, Doc]:
    """Return the number of the version that a form had, and what documents name it by.

    :param code: the form.
    :param moment: in milliseconds since 1970.
    :param now_ms: time of the newest documents.
    """
    second = f"form:{code}" in SECOND and moment >= now_ms - SECOND_DAYS * DAY
    return 2 if second else 1, dict(_name(code, second, now_ms))


@cache
def _name(code: str, second: bool, now_ms: int) -> Doc:
    if second:
        return Version(SECOND[f"form:{code}"], now_ms - SECOND_DAYS * DAY).name
    return Version(next(each for each in FIRST if each.code == code), now_ms - FIRST_DAYS * DAY).name
