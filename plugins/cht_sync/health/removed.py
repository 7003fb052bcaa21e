"""Tables that no model makes any more, and that look alive."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

_REMOVED = """
select r.key as relation, min(r.value)::timestamptz as since
from {schema}.couchdb_deployment d cross join lateral jsonb_each_text(d.removed) r
where d.models_schema = %(models_schema)s
    and to_regclass(format('%%I.%%I', split_part(r.key, '.', 1), substr(r.key, strpos(r.key, '.') + 1))) is not null
group by 1 order by 1
"""


class RemovedModel(BaseModel):
    """A table or view of a model that the project has no longer."""

    relation: str
    since: datetime | None = None

    @property
    def text(self) -> str:
        """What is the case."""
        return f"{self.relation} is of no model any more: it stays as it was, and nothing updates it."

    @property
    def todo(self) -> str:
        """The remedy."""
        return (
            "Take it out of dashboards, then trigger cht_pipeline_deploy with"
            f" drop_removed={json.dumps([self.relation])}; or put the model back, and into DBT_SELECTOR."
        )


def read_removed(destination: Destination) -> list[RemovedModel]:
    """Those that are still there.

    :param destination: where deployments are recorded.
    """
    if not destination.has("couchdb_deployment", "removed"):
        return []
    return [RemovedModel(**row) for row in destination.rows(_REMOVED, models_schema=destination.settings.dbt_schema)]
