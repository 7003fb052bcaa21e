"""Which DAGs of the project are paused, and what does not happen therefore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from cht_sync.check.finding import Finding, ok, warning
from cht_sync.monitoring.paused_dags import MEANS, read_paused

UNPAUSE = "airflow dags unpause --yes --treat-dag-id-as-regex '^cht_'"
# Those that are there whatever the settings say. One that they do not bring is not paused either.
ALWAYS = ("cht_sync", "cht_pipeline_deploy", "cht_reconcile", "cht_data_tests")


def check_paused(paused: Mapping[str, bool] | None = None) -> Iterator[Finding]:
    """A finding for each DAG that is paused, behind that about Airflow's database.

    :param paused: whether, by DAG; by default what Airflow's database holds.
    """
    if paused is None:
        if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "server":
            return
        try:
            paused = _read()
        except Exception as error:  # no run fails of it
            yield warning("DAGs", f"whether they are paused cannot be read ({type(error).__name__}).")
            return
    known = {dag: paused[dag] for dag in MEANS if dag in paused}
    for dag, is_paused in known.items():
        if is_paused:
            yield warning(f"DAG {dag}", f"is paused: {MEANS[dag]}. Unpause it, or all: {UNPAUSE}")
    if unread := [dag for dag in ALWAYS if dag not in known]:
        yield warning(
            "DAGs",
            f"Airflow has not read {', '.join(unread)} yet: one that is new to it is paused until somebody unpauses it."
            " Where that stays so, look at the import errors on its home page, and whether the DAG processor runs.",
        )
    elif not any(known.values()):
        yield ok("DAGs", f"none of {len(known)} is paused.")


def _read() -> dict[str, bool]:
    from airflow.utils.session import create_session

    with create_session() as session:
        return read_paused(session)
