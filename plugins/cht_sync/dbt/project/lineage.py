"""What depends on what in a parsed dbt project; read in dbt's own processes too, so without anything of Airflow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from cht_sync.dbt.project.manifest import reachable, reversed_edges
from cht_sync.forms.names import FORMS_PACKAGE

# dbt makes these again in each run, whatever is there.
MADE_ANEW = {"table", "view", "materialized_view", "ephemeral"}
STARTER_PACKAGE = "cht_starter"
# Their models compare everything in place where dbt is told to build them anew: they are rebuilt all the same.
COMPARING = {STARTER_PACKAGE, FORMS_PACKAGE}
# Of include/dbt/wrapper: takes the place of dbt's own delete and insert.
WRITES_OVER = "macro.cht_sync_wrapper.default__get_delete_insert_merge_sql"


@dataclass(frozen=True, slots=True)
class Kept:
    """A model whose table dbt adds to.

    :param place: schema and name of its table.
    :param declared: type by column, as its contract declares them; empty without one.
    :param on_schema_change: what dbt does where the columns differ.
    :param stays: whether it says ``full_refresh: false``, so that it is not built again.
    :param in_batches: whether dbt builds it in batches of a time.
    """

    name: str
    place: tuple[str, str]
    declared: dict[str, str]
    on_schema_change: str
    stays: bool
    in_batches: bool = False

    @classmethod
    def of(cls, node: Any) -> Kept | None:
        """Reads dbt's node of a model; None where dbt makes its relation again in each run."""
        config = node.config
        if config.materialized in MADE_ANEW:
            return None
        declared = {}
        if config.contract.enforced:
            # PostgreSQL writes names small that are not in quotes.
            declared = {
                column.name if column.quote else column.name.lower(): column.data_type
                for column in node.columns.values()
                if column.data_type
            }
            if config.contract.alias_types:
                from dbt.adapters.postgres import PostgresAdapter

                declared = {name: PostgresAdapter.Column.translate_type(kind) for name, kind in declared.items()}
        stays = config.full_refresh is False and node.package_name not in COMPARING
        in_batches = config.get("incremental_strategy") == "microbatch"
        return cls(
            node.name, (node.schema, node.alias), declared, str(config.on_schema_change or "ignore"), stays, in_batches
        )


@dataclass(frozen=True, slots=True)
class Lineage:
    """Models of a project and what they read; all are named by their unique ids.

    :param parents: all that a model reads, sources too.
    :param relations: schema and table of each model that has one.
    :param strategies: incremental strategy of each model; ``upsert`` where the wrapper project makes one of
        ``delete+insert``, empty where there is none.
    :param paths: what ``fqn:`` selects each model by.
    :param forms: for each model that is made from a form, what its config names the form by.
    :param tables: schema, table and ``fqn:`` path of each seed and snapshot, which ``dbt run`` leaves out.
    """

    parents: dict[str, set[str]]
    relations: dict[str, tuple[str, str]]
    strategies: dict[str, str]
    paths: dict[str, str]
    kept: dict[str, Kept] = field(default_factory=dict)
    tables: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Any) -> Lineage:
        """Reads dbt's manifest."""
        models = {name: node for name, node in manifest.nodes.items() if node.resource_type == "model"}
        return cls(
            parents={name: set(node.depends_on.nodes) for name, node in models.items()},
            relations={
                name: (node.schema, node.alias)
                for name, node in models.items()
                if node.config.materialized not in {"ephemeral", "view"}
            },
            strategies={name: _strategy(node, manifest.macros) for name, node in models.items()},
            paths={name: ".".join(node.fqn) for name, node in models.items()},
            kept={name: one for name, node in models.items() if (one := Kept.of(node))},
            tables={
                name: (node.schema, node.alias, ".".join(node.fqn))
                for name, node in manifest.nodes.items()
                if node.resource_type in {"seed", "snapshot"}
            },
            forms={
                name: str(node.config.meta.get("form"))
                for name, node in models.items()
                if node.package_name == FORMS_PACKAGE and node.config.meta.get("form")
            },
        )

    @classmethod
    def from_json(cls, parts: dict[str, dict[str, Any]]) -> Lineage:
        """What another process has read, from JSON by the names of the parameters."""
        parents = {name: set(each) for name, each in parts["parents"].items()}
        relations = {name: (schema, table) for name, (schema, table) in parts["relations"].items()}
        kept = {name: Kept(**{**each, "place": tuple(each["place"])}) for name, each in parts["kept"].items()}
        tables = {name: (schema, table, path) for name, (schema, table, path) in parts["tables"].items()}
        return cls(parents, relations, parts["strategies"], parts["paths"], kept, tables, parts.get("forms", {}))

    @property
    def models(self) -> set[str]:
        """Unique ids of all models."""
        return set(self.parents)

    def descendants(self, models: Collection[str]) -> set[str]:
        """Models that read others, directly or through others, and these themselves."""
        return set(reachable(models, reversed_edges(self.parents)))

    def read_by(self, models: Collection[str]) -> set[str]:
        """Seeds and snapshots that models read, directly or through others; all of them for all models."""
        if set(models) == self.models:
            return set(self.tables)
        return set(reachable(models, self.parents)) & set(self.tables)

    def of_documents(self) -> set[str]:
        """Models that are made from a source, so from documents; a log that dbt itself writes is not."""
        sources = {parent for parents in self.parents.values() for parent in parents if parent.startswith("source.")}
        return self.descendants(sources) & self.models

    def chosen(self, select: str | None) -> set[str]:
        """The models of a selection that :meth:`select` has made, by ``fqn:`` terms; all for none."""
        wanted = set((select or "").split())
        return {name for name, path in self.paths.items() if not wanted or f"fqn:{path}" in wanted}

    def name(self, model: str) -> str:
        """The name of a model, for a person."""
        return self.paths[model].rpartition(".")[2]

    def select(self, models: Iterable[str]) -> str:
        """What selects these models, for ``dbt --select``; :meth:`exclude` says what it selects too much."""
        return " ".join(f"fqn:{self.paths[name]}" for name in sorted(models))

    def exclude(self, models: Collection[str]) -> str:
        """What to exclude beside :meth:`select`: the path of a model may be the folder of others.

        Source: https://docs.getdbt.com/reference/node-selection/methods#fqn
        """
        folders = tuple(f"{self.paths[name]}." for name in models)
        return self.select(name for name, path in self.paths.items() if name not in models and path.startswith(folders))


def _strategy(node: Any, macros: Any) -> str:
    """How an incremental model treats edited rows."""
    if node.config.materialized != "incremental":
        return ""
    key = node.config.unique_key
    said = str(node.config.get("incremental_strategy") or ("delete+insert" if key else "append"))
    if said == "delete+insert" and WRITES_OVER in macros and isinstance(key, str) and _is_unique(node, key):
        return "upsert"
    return said


def _is_unique(node: Any, column: str) -> bool:
    """Whether the project gives a column a unique index, by a contract or by the model's indexes."""
    declared = getattr(node.columns.get(column), "constraints", None) or []
    kinds = {getattr(each.type, "value", each.type) for each in declared}
    indexes = node.config.get("indexes") or []
    unique = [each for each in indexes if each.get("unique") and each.get("columns") == [column]]
    return bool(unique or kinds & {"unique", "primary_key"})
