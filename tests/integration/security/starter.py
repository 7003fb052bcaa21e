"""The starter models, run by dbt with the environment of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cht_sync.dbt.launch.profile import PROFILE, TARGET, models_environment, profile_config
from cht_sync.settings.settings import REPOSITORY, Settings
from tests.dbt_in_process import dbtRunner

STARTER = REPOSITORY / "include" / "dbt" / "starter"


def run_models(folder: Path, schema: str) -> None:
    """Runs the starter as its tasks do: with the profile and the variables that they get.

    :param folder: for what dbt writes.
    :param schema: schema of the models.
    """
    result = invoke_models(folder, schema)
    assert result.success, failures(result)


def invoke_models(folder: Path, schema: str) -> Any:
    from cosmos.dbt.project import environ

    settings = Settings()
    mapping = profile_config(settings).profile_mapping
    (folder / "profiles.yml").write_text(mapping.get_profile_file_contents(PROFILE, TARGET))
    assert settings.dbt_schema == schema
    with environ({**models_environment(settings), **mapping.env_vars}):
        return dbtRunner().invoke(
            [
                "--quiet", "--no-use-colors", "--log-level-file", "none", "run", "--project-dir", str(STARTER),
                "--profiles-dir", str(folder), "--target", TARGET, "--profile", PROFILE,
                "--target-path", str(folder / "target"), "--log-path", str(folder / "logs"),
            ]
        )  # fmt: skip


def failures(result: Any) -> str:
    """What went wrong in a dbt run.

    :param result: of dbt.
    """
    if result.exception or not result.result:
        return repr(result.exception)
    return "\n".join(f"{each.node.name}: {each.message}" for each in result.result.results if each.message)
