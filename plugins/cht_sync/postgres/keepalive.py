"""Settings of sessions that let Postgres notice soon that a client is gone."""

from __future__ import annotations

from typing import Any

# Some are of PostgreSQL 14 and later, and a pooler refuses them at the start of a session.
# Source: https://www.postgresql.org/docs/current/runtime-config-connection.html
KEEPALIVE = {
    "client_connection_check_interval": "5s",
    "idle_in_transaction_session_timeout": "10min",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
SET = "select set_config(name, value, false) from pg_settings join unnest(%s, %s) as wanted (name, value) using (name)"


def end_with_process(name: str) -> None:
    """Has each session that dbt opens in this process end by itself, soon after this process, in a statement too.

    ``application_name`` is set here and not in the profile: with another one dbt would read the whole project again.
    """
    from dbt.adapters.postgres.connections import PostgresConnectionManager

    manager: Any = PostgresConnectionManager
    opens = getattr(manager.open, "opens", None) or manager.open.__func__
    wanted = {**KEEPALIVE, "application_name": name}

    def open_(cls: Any, connection: Any) -> Any:
        was_open = connection.state == "open"
        connection = opens(cls, connection)
        if not was_open and connection.state == "open":
            with connection.handle.cursor() as cursor:
                cursor.execute(SET, (list(wanted), list(wanted.values())))
            connection.handle.commit()
        return connection

    open_.opens = opens  # type: ignore[attr-defined]
    manager.open = classmethod(open_)
