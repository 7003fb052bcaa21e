"""What alerts are about, as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cht_sync.monitoring.alerts.sentences import of_alert
from cht_sync.monitoring.finding import Finding, Kind
from cht_sync.monitoring.parts import PartName, Unknown
from cht_sync.monitoring.sentences import CATALOGUE

# What is sent once, and is not resolved.
NEWS = tuple(CATALOGUE[kind].alert for kind in (Kind.LOADED, Kind.FORM_NOTICE))
# What neither begins nor ends while a part could not be read.
_HIDDEN: dict[PartName, tuple[Kind, ...]] = {
    "sources": (Kind.MISSED, Kind.BEHIND),
    "groups": (Kind.MODELS_BEHIND,),
    "quarantine": (Kind.QUARANTINE,),
    "models": (Kind.MODELS, Kind.SHRUNK),
    "proofs": (Kind.PROOF, Kind.RECONCILIATION_OVERDUE),
    "first_load": (Kind.LOADED,),
    "collisions": (Kind.GONE_OWNER,),
    "doubts": (Kind.DOUBT,),
    "older_revisions": (Kind.OLDER_REVISION,),
    "form_notices": (Kind.FORM_NOTICE,),
    "task_errors": (Kind.TASK,),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What is the case.

    :param kind: a name of ``ALERTS``.
    :param text: what is affected, and in a second line why; never content or ids of documents.
    :param newest: when the newest of what it is made of came, where alerts about newer ones are sent again.
    """

    kind: str
    subject: str
    text: str
    since: datetime | None = None
    newest: datetime | None = None


def conditions(findings: Iterable[Finding]) -> list[Condition]:
    """What alerts are to be sent about, whatever was sent before."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        name = CATALOGUE[each.kind].alert
        if name and each.told:
            groups.setdefault((name, each.subject), []).append(each)
    return [
        Condition(name, subject, of_alert(these), _since(these), _newest(these[0]))
        for (name, subject), these in groups.items()
    ]


def hidden(unknown: Iterable[Unknown]) -> set[str]:
    """Names of alerts of which it is not certain whether they are the case."""
    return {CATALOGUE[kind].alert for each in unknown for kind in _HIDDEN.get(each.part, ())}


def _since(findings: list[Finding]) -> datetime | None:
    return min((each.since for each in findings if each.since), default=None)


def _newest(finding: Finding) -> datetime | None:
    held = finding.about[1] if finding.kind is Kind.QUARANTINE else None
    return held.newest if held else None
