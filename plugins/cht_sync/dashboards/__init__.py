"""The dashboards of ``include/superset`` on a server of Apache Superset."""
