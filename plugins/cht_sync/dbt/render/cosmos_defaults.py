"""Settings of Cosmos that differ here, for whoever has not set them."""

from __future__ import annotations

from airflow.configuration import conf
from cosmos import settings

# The long warning at each asset is about names of Airflow 2, which never existed here; the other one is about
# retries of a producer, which run dbt again here. Nothing about the runs of a health programme goes to anybody.
DEFAULTS = {
    "enable_telemetry": False,
    "enable_watcher_reliable_retry": False,
    "use_dataset_airflow3_uri_standard": True,
}


def apply() -> None:
    """Sets them for this process.

    Source: https://astronomer.github.io/astronomer-cosmos/configuration/cosmos-conf.html
    """
    for name, value in DEFAULTS.items():
        if not conf.has_option("cosmos", name):
            setattr(settings, name, value)
