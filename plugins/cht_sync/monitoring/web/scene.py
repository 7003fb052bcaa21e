"""What remarks are made from: the findings' context, and helpers that all remarks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cht_sync.common.text import listed
from cht_sync.monitoring.finding import SEVERITY, Finding, Kind, Limits
from cht_sync.monitoring.sentences import CATALOGUE
from cht_sync.monitoring.state import Source
from cht_sync.monitoring.web.answers import Remark

if TYPE_CHECKING:
    from cht_sync.monitoring.state import Facts


@dataclass(frozen=True, slots=True)
class Scene:
    """The context of the findings.

    :param facts: what was read; its sources have their states.
    """

    facts: Facts
    now: datetime
    limits: Limits

    @property
    def sources(self) -> list[Source]:
        """Those that are copied."""
        return [source for source in self.facts.sources if source.copied]


def remark(kind: Kind, scene: Scene, text: str = "", **fields: Any) -> Remark:
    """A remark with the text, remedy and link of its kind where ``fields`` have none."""
    entry = CATALOGUE[kind]
    known = {"state": SEVERITY[kind], "todo": entry.remedy, "link": entry.link.format(models=scene.limits.models_dag)}
    return Remark(kind=entry.shown, text=text or entry.text, **known | fields)  # type: ignore[arg-type]


def grouped(findings: list[Finding], key: Callable[[Any], Any]) -> list[list[Any]]:
    """What the findings are about, by a key of it."""
    groups: dict[Any, list[Any]] = {}
    for each in findings:
        groups.setdefault(key(each.about), []).append(each.about)
    return list(groups.values())


def abouts(findings: list[Finding]) -> list[Any]:
    """What each finding is about."""
    return [each.about for each in findings]


def names_of(sources: list[Source]) -> str:
    """Names of sources, of very many the first ones."""
    return listed([source.source for source in sources])


def link_of(sources: list[Source]) -> str:
    """To the task of one source; of several, to all mapped instances of that task in the run."""
    links = [source.task.link for source in sources if source.task]
    if not links:
        return "dags/cht_sync"
    return links[0] if len(links) == 1 else links[0].rpartition("/")[0] or links[0]
