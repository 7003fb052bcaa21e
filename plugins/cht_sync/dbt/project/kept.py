"""Models whose tables dbt adds to from run to run; read inside of dbt's process too, so without anything of Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# dbt makes these anew in each run, whatever is there.
MADE_ANEW = {"table", "view", "materialized_view", "ephemeral"}
STARTER_PACKAGE = "cht_starter"


@dataclass(frozen=True, slots=True)
class Kept:
    """A model whose table dbt adds to.

    :param place: schema and name of its table.
    :param declared: type by column, as its contract declares them; empty without one.
    :param on_schema_change: what dbt does where the columns differ.
    :param stays: whether it says ``full_refresh: false``, so that it is not built anew.
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
        """Reads dbt's node of a model; None where dbt makes its relation anew in each run."""
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
        stays = config.full_refresh is False and node.package_name != STARTER_PACKAGE
        in_batches = config.get("incremental_strategy") == "microbatch"
        return cls(
            node.name, (node.schema, node.alias), declared, str(config.on_schema_change or "ignore"), stays, in_batches
        )
