"""How far the models of the selection are behind the documents; they are so too where they never ran to a good end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

# The oldest document that waits, found by the index; not a count.
_LAG = """
select %(selected)s as models, r.succeeded_at, r.modelled_to, w.newest, w.since at time zone 'utc' as waiting_since
from (select true) one
left join {schema}.couchdb_model_run r on r.models_schema = %(models_schema)s and r.models = %(selected)s
cross join lateral (
    select (select max(saved_timestamp) from {schema}.{table}) as newest,
        (select min(saved_timestamp) from {schema}.{table}
            where saved_timestamp > coalesce(r.modelled_to, '-infinity')) as since
) w
"""


class ModelsLag(BaseModel):
    """The models of the selection against the documents that are stored."""

    models_schema: str
    models: str = Field(description="A dbt selection; empty for all.")
    succeeded_at: datetime | None = Field(default=None, description="Null where they never ran to a good end.")
    modelled_to: datetime | None = None
    newest: datetime | None = Field(default=None, description="Stamp of the newest document; null where there is none.")
    waiting_since: datetime | None = Field(
        default=None, description="When the oldest document was stored that they have not seen."
    )

    @property
    def name(self) -> str:
        """The models for people."""
        return f"{self.models_schema} ({self.models})" if self.models else self.models_schema

    @property
    def text(self) -> str:
        """What is the case."""
        if self.succeeded_at is None:
            return f"The models of {self.name} have never run to a good end; documents wait for them since then."
        return f"Documents wait for the models of {self.name} since then."


def read_models_lag(destination: Destination) -> ModelsLag:
    """How far they are behind.

    :param destination: where documents and results are.
    """
    schema = destination.settings.dbt_schema
    (row,) = destination.rows(_LAG, models_schema=schema, selected=destination.settings.dbt_selector)
    return ModelsLag(models_schema=schema, **row)
