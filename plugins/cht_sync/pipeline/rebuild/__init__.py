"""Builds the models that a deployment changed beside those in use, and swaps them in one transaction."""

from cht_sync.pipeline.rebuild.constraints import missing_constraints
from cht_sync.pipeline.rebuild.plan import PlannedModel, RebuildPlan, plan_rebuild
from cht_sync.pipeline.rebuild.rebuild import RebuildReport, RebuiltModel, rebuild

__all__ = [
    "PlannedModel",
    "RebuildPlan",
    "RebuildReport",
    "RebuiltModel",
    "missing_constraints",
    "plan_rebuild",
    "rebuild",
]
