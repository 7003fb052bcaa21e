"""What people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from cht_sync.alerts.condition import KINDS, NEWS

if TYPE_CHECKING:
    from cht_sync.alerts.incidents import Incident

# Of a server with very many databases; the page has them all.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    :param title: one line.
    :param lines: what happened, since when, what is affected, what to do, and a link.
    :param good: whether it is good news.
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
        """The message about incidents of one kind, all of which have begun or all of which are over.

        :param incidents: at least one.
        :param base_url: of Airflow's UI.
        :param models_dag: the DAG that runs the models.
        """
        first = incidents[0]
        kind, good = KINDS[first.kind], first.recovered or first.kind == NEWS
        title = f"CHT Sync: {'well again: ' if first.recovered else ''}{kind.title}: {_subjects(incidents)}"[:200]
        affected = [line for each in incidents[:LISTED] for line in (_time(each), each.text)]
        if len(incidents) > LISTED:
            affected.append(f"And {len(incidents) - LISTED} more.")
        todo = "" if first.recovered else f"What to do: {kind.todo.format(models=models_dag)}"
        link = f"{base_url.rstrip('/')}{kind.link.format(models=models_dag)}"
        lines = (f"{'Over: ' if first.recovered else ''}{kind.title}.", *affected, todo, link)
        return cls(title, tuple(filter(None, lines)), good)


def _subjects(incidents: Sequence[Incident]) -> str:
    # One line whatever a name holds: a mail's subject ends with it.
    names = [" ".join(each.subject.split()) for each in incidents]
    return f"{len(names)}: {', '.join(names)}" if len(names) > 1 else names[0]


def _time(incident: Incident) -> str:
    since = f"Since: {incident.since:%Y-%m-%d %H:%M} UTC"
    return f"{since}, until {incident.until:%Y-%m-%d %H:%M} UTC" if incident.until else since
