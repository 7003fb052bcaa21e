"""What hangs on what in a parsed dbt project."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lineage:
    """Models of a project and what they read.

    :param parents: unique ids of all that a model reads, sources too, by its own.
    :param relations: schema and table of each model that has one.
    :param strategies: incremental strategy of each model; empty where there is none.
    :param paths: what ``fqn:`` selects each model by.
    """

    parents: dict[str, set[str]]
    relations: dict[str, tuple[str, str]]
    strategies: dict[str, str]
    paths: dict[str, str]

    @classmethod
    def of(cls, manifest: Any) -> Lineage:
        """Reads dbt's manifest.

        :param manifest: ``dbt.contracts.graph.manifest.Manifest``.
        """
        models = {name: node for name, node in manifest.nodes.items() if node.resource_type == "model"}
        return cls(
            parents={name: set(node.depends_on.nodes) for name, node in models.items()},
            relations={
                name: (node.schema, node.alias)
                for name, node in models.items()
                if node.config.materialized not in {"ephemeral", "view"}
            },
            strategies={name: str(node.config.get("incremental_strategy") or "") for name, node in models.items()},
            paths={name: ".".join(node.fqn) for name, node in models.items()},
        )

    @property
    def models(self) -> set[str]:
        """Unique ids of all models."""
        return set(self.parents)

    def descendants(self, models: Collection[str]) -> set[str]:
        """Models that read others, directly or through others, and these themselves.

        :param models: unique ids.
        """
        reached = set(models)
        while True:
            more = {name for name, parents in self.parents.items() if parents & reached} - reached
            if not more:
                return reached
            reached |= more

    def of_documents(self) -> set[str]:
        """Models that are made from a source, so from documents; a log that dbt itself writes is not."""
        sources = {parent for parents in self.parents.values() for parent in parents if parent.startswith("source.")}
        return self.descendants(sources) & self.models

    def chosen(self, select: str | None) -> set[str]:
        """The models that a selection means which :meth:`select` has made.

        :param select: ``fqn:`` terms; nothing for all models.
        """
        wanted = set((select or "").split())
        return {name for name, path in self.paths.items() if not wanted or f"fqn:{path}" in wanted}

    def name(self, model: str) -> str:
        """The name of a model, for a person.

        :param model: unique id.
        """
        return self.paths[model].rpartition(".")[2]

    def select(self, models: Iterable[str]) -> str:
        """What selects just these models, for ``dbt --select``.

        :param models: unique ids.
        """
        return " ".join(f"fqn:{self.paths[name]}" for name in sorted(models))
