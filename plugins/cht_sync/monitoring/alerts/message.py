"""The messages of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from cht_sync.common.text import listed, moment
from cht_sync.monitoring.alerts.condition import NEWS
from cht_sync.monitoring.alerts.sentences import ALERTS
from cht_sync.monitoring.sentences import same_cause

if TYPE_CHECKING:
    from cht_sync.monitoring.alerts.incidents import Incident

# Of a server with very many databases; the page has them all.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    :param lines: what happened, since when, what is affected, what to do, and a link.
    """

    title: str
    lines: tuple[str, ...]
    good: bool

    @property
    def text(self) -> str:
        """As plain text."""
        return "\n".join(self.lines)

    @property
    def html(self) -> str:
        """As HTML; names may hold anything."""
        return "".join(f"<p>{escape(line)}</p>" for line in self.lines)

    @classmethod
    def about(cls, incidents: Sequence[Incident], base_url: str, models_dag: str) -> Message:
        """The message about incidents of one kind, all of which have begun or all of which are over."""
        first = incidents[0]
        kind, good = ALERTS[first.kind], first.recovered or first.kind in NEWS
        title = f"CHT Sync: {'resolved: ' if first.recovered else ''}{kind.title}: {_subjects(incidents)}"[:200]
        affected = [line for each in incidents[:LISTED] for line in (_time(each), each.text.partition("\n")[0])]
        if len(incidents) > LISTED:
            affected.append(f"And {len(incidents) - LISTED} more.")
        if not first.recovered:
            affected += _reasons(incidents)
        todo = "" if first.recovered else f"What to do: {kind.todo.format(models=models_dag)}"
        link = f"{base_url.rstrip('/')}{_path(kind.link, incidents, models_dag)}"
        lines = (f"{'Resolved: ' if first.recovered else ''}{kind.title}.", *affected, todo, link)
        return cls(title, tuple(filter(None, lines)), good)


def _subjects(incidents: Sequence[Incident]) -> str:
    # One line whatever a name holds: a mail's subject ends with it.
    names = [" ".join(each.subject.split()) for each in incidents]
    return f"{len(names)}: {', '.join(names)}" if len(names) > 1 else names[0]


def _reasons(incidents: Sequence[Incident]) -> list[str]:
    """Why, each cause once: a server that is gone takes all its databases with it."""
    causes: dict[str, list[Incident]] = {}
    for each in incidents:
        if reason := each.text.partition("\n")[2]:
            causes.setdefault(same_cause(reason, each.subject), []).append(each)
    lines = []
    for these in causes.values():
        named = (
            f" ({listed([each.subject for each in these])})" if len(causes) > 1 or len(these) < len(incidents) else ""
        )
        lines.append(f"Reason{named}: {these[0].text.partition(chr(10))[2]}")
    return lines


def _path(link: str, incidents: Sequence[Incident], models_dag: str) -> str:
    """To the list of one subject, or to where all are shown."""
    meant = link if len(incidents) == 1 else link.partition("#")[0]
    return meant.format(models=models_dag, subject=quote(incidents[0].subject, safe=""))


def _time(incident: Incident) -> str:
    since = f"Since: {moment(incident.since)}"
    return f"{since}, until {moment(incident.until)}" if incident.until else since
