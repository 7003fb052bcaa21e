"""The task ``forms`` of the DAG ``cht_sync``, which keeps the catalogue of forms."""

from __future__ import annotations

from airflow.sdk import task

from cht_sync.settings.settings import Settings


@task(
    task_id="forms",
    task_display_name="forms: read definitions, count reports",
    trigger_rule="all_done",
    retries=0,
    multiple_outputs=False,
)
def keep_catalogue() -> dict[str, bool]:
    """Reads definitions of forms that changed, and counts what new reports hold.

    :return: whether definitions and reports are all read.
    """
    from cht_sync.forms.keep import keep_up_to_date

    return keep_up_to_date(Settings())
