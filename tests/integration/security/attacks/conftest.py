"""The status page on a real API server of Airflow, as its own tests have it."""

from tests.integration.monitoring.web.conftest import scenes, server

__all__ = ["scenes", "server"]
