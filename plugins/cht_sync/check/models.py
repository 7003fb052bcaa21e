"""Whether a dbt project is there to run."""

from __future__ import annotations

from collections.abc import Iterator

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.dbt.launch.environment import told_of_defaults
from cht_sync.dbt.project.source import address_warning, missing_folder_warning
from cht_sync.dbt.project.version import require_configured
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


def check_models(settings: Settings) -> Iterator[Finding]:
    """Findings about the dbt project that the settings name.

    :param settings: the environment.
    """
    subject = "dbt project"
    if passed_over := missing_folder_warning(settings):
        remedy = "Empty it, or name a folder that exists; a container sees only folders that are mounted into it."
        yield warning(subject, f"{passed_over} {remedy}")
    try:
        if told := address_warning(settings):
            remedy = "Take it out of the address, and let CHT_PIPELINE_TOKEN_FILE name a file that holds it."
            yield warning(subject, f"{told} {remedy}")
        found = require_configured(settings)
    except SettingsError as error:
        yield failed(subject, str(error))
        return
    if not found.installed:
        yield ok(subject, f"{found.source}, which need no installation.")
        return
    if told := told_of_defaults(found.path, settings):
        yield warning(subject, told)
    yield ok(subject, f"{found.source} ({found.revision[:12]}), {found.models} models, in {found.path}.")
