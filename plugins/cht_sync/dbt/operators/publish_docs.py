"""The task that publishes the documentation of the dbt project."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from cosmos.operators.local import DbtDocsLocalOperator

from cht_sync.dbt.operators.dbt_task import DbtTaskMixin
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


class PublishDocs(DbtTaskMixin, DbtDocsLocalOperator):
    """Runs ``dbt docs generate`` and puts the pages where Airflow's UI reads them.

    Source: https://astronomer.github.io/astronomer-cosmos/configuration/hosting-docs.html
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(callback=self._publish, **kwargs)

    def _publish(self, project_dir: str, **_: Any) -> None:
        folder = Settings().docs_dir
        found = [Path(project_dir) / "target" / name for name in self.required_files]
        if not all(path.is_file() for path in found):
            return  # dbt has failed, and what it said is raised next
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in found:
                # Whoever looks at the page meanwhile sees the old file or the new one, never half of it.
                part = folder / f".{path.name}.{os.getpid()}"
                shutil.copyfile(path, part)
                os.replace(part, folder / path.name)
        except OSError as error:
            raise SettingsError(
                f"The documentation cannot be written to {folder} ({error.strerror}): let CHT_PIPELINE_DIR name a"
                " folder that tasks can write to and the API server can read."
            ) from None
        self.log.info("The documentation is in %s.", folder)
