"""The drawing of the starter models that is kept in the repository."""

from __future__ import annotations

import tempfile

from cht_sync.dbt.deploy.install import install
from cht_sync.settings.settings import Settings


def fresh_graph() -> str:
    """The text that ``include/dbt/starter_manifest.json`` must have, from the starter as it is now.

    :raises SettingsError: if dbt cannot parse the starter.
    """
    with tempfile.TemporaryDirectory() as folder:
        return install(Settings({"CHT_PIPELINE_DIR": folder})).graph.read_text()
