"""A form as the catalogue knows it: what its definitions say, and what its reports have held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from cht_sync.forms.definition import FormDefinition, Path


@dataclass(frozen=True)
class CatalogueForm:
    """One form of all its versions.

    :param kind: ``report``, ``sms``, ``contact`` or ``training``.
    :param definition: of all versions together; what reports hold without a definition is a hidden field of it.
    :param columns: names that fields have had, and under ``(*repeat, "*table")`` those of tables.
    :param failing: for each field the kinds to which some value of a report did not cast, with how many.
    :param gone: fields that the newest definition has no longer, with the last day on which one had them.
    :param undeclared: fields that no definition has.
    """

    code: str
    kind: str
    definition: FormDefinition
    columns: Mapping[Path, str] = field(default_factory=dict)
    versions: tuple[str, ...] = ()
    reports: int = 0
    filled: Mapping[Path, int] = field(default_factory=dict)
    failing: Mapping[Path, Mapping[str, int]] = field(default_factory=dict)
    gone: Mapping[Path, date] = field(default_factory=dict)
    undeclared: frozenset[Path] = frozenset()
    removed_at: datetime | None = None
    error: str | None = None

    @property
    def group(self) -> Path:
        """The group whose fields the rows of its table have; empty for the form itself."""
        return ()

    @property
    def shared(self) -> frozenset[Path]:
        """Groups in which others write as well, so that a key that no definition has is nothing to tell."""
        return frozenset()
