"""What Airflow registers: the status page, in the navigation and on the API server."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/cht-sync"


class StatusApp:
    """The ASGI application of the status page, made at its first request.

    Airflow imports plugins in every process; the scheduler and a worker need not load what only the API server serves.
    """

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request.

        Source: https://asgi.readthedocs.io/en/latest/specs/main.html

        :param scope: of the connection.
        :param receive: gives what the client sends.
        :param send: takes what it is sent.
        """
        if self._app is None:
            from cht_sync.monitoring.web.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class ChtSyncPlugin(AirflowPlugin):
    """The status page "CHT Sync".

    Source: https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
    """

    name = "cht_sync"
    fastapi_apps = [{"app": StatusApp(), "url_prefix": PREFIX, "name": "CHT Sync status"}]
    external_views = [
        {
            "name": "CHT Sync",
            # Relative: Airflow's UI may be served below a path.
            "href": f"{PREFIX.removeprefix('/')}/",
            "destination": "nav",
            "url_route": "cht-sync",
            "icon": f"{PREFIX.removeprefix('/')}/static/icon.svg",
            "icon_dark_mode": f"{PREFIX.removeprefix('/')}/static/icon-dark.svg",
            "nav_top_level": True,
        }
    ]
