"""What ``python -m cht_sync dashboards`` does."""

from __future__ import annotations

from cht_sync.dashboards.bundle import DATABASE_FILE, bundle, prepared
from cht_sync.dashboards.settings import SupersetSettings
from cht_sync.dashboards.superset import Superset


def import_dashboards(settings: SupersetSettings) -> str:
    """Imports the assets of ``include/superset``, over those of an earlier import.

    :raises SupersetError: if Superset cannot be reached or does not answer as it should.
    """
    login, warehouse = settings.login, settings.warehouse
    contents = prepared(warehouse)
    with Superset(login) as superset:
        superset.import_assets(bundle(contents), {DATABASE_FILE: warehouse.password})
    charts = sum(name.startswith("charts/") for name in contents)
    slugs = [content["slug"] for name, content in contents.items() if name.startswith("dashboards/")]
    places = ", ".join(f"{login.url}/superset/dashboard/{slug}/" for slug in slugs)
    return f"{charts} charts on {warehouse.user}@{warehouse.host}, schema {warehouse.schema!r}: {places}"
