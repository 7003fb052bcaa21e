"""What the settings name as its source is now, found out without fetching it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from airflow.sdk.log import mask_secret

from cht_sync.dbt.project.content import build_key, content_hash
from cht_sync.dbt.project.fetch import require_project
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.hub import PROBE_TIMEOUT_S, hub_answers, hub_url
from cht_sync.dbt.project.source import configured_source
from cht_sync.dbt.project.tarball import validator as tarball_validator
from cht_sync.dbt.project.version import VERSIONS, Deployment
from cht_sync.settings.settings import Settings


def wanted(settings: Settings) -> Deployment:
    """The version that the settings name as its source is now; its revision is empty where only a download can tell.

    :raises SettingsError: if the source cannot be read.
    """
    source = configured_source(settings)
    for secret in source.secrets:
        mask_secret(secret)
    revision = validator = ""
    if source.kind == "git":
        revision = GitRepository(source).commit()
    elif source.kind == "tarball":
        validator = tarball_validator(source)
    else:
        require_project(source, Path(source.location))
        revision = content_hash(Path(source.location), source)
    folder = settings.pipeline_dir / VERSIONS
    return Deployment(
        path=folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        graph=folder,
        source=source.text,
        fingerprint=source.fingerprint,
        revision=revision,
        build=build_key(settings),
        dbt_version=version("dbt-core"),
        validator=validator,
    )


def is_mendable(found: Deployment, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether packages that the hub could not give when a version was built can be had now."""
    return bool(found.stand_ins) and hub_answers(hub_url(), timeout_s)
