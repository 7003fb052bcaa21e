"""What people read."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from cht_sync.alerts.condition import KINDS, NEWS

if TYPE_CHECKING:
    from cht_sync.alerts.incidents import Incident


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
    def about(cls, incident: Incident, base_url: str) -> Message:
        """The message about an incident.

        :param incident: the incident.
        :param base_url: of Airflow's UI.
        """
        kind, good = KINDS[incident.kind], incident.recovered or incident.kind == NEWS
        # One line whatever a name holds: a mail's subject ends with it.
        about = " ".join(incident.subject.split())
        title = f"CHT Sync: {'well again: ' if incident.recovered else ''}{kind.title}: {about}"[:200]
        since = f"Since: {incident.since:%Y-%m-%d %H:%M} UTC"
        if incident.until:
            since += f", until {incident.until:%Y-%m-%d %H:%M} UTC"
        todo = "" if incident.recovered else f"What to do: {kind.todo}"
        link = f"{base_url.rstrip('/')}{kind.link}"
        lines = (f"{'Over: ' if incident.recovered else ''}{kind.title}.", since, incident.text, todo, link)
        return cls(title, tuple(filter(None, lines)), good)
