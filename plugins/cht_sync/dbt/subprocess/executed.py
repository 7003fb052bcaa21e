"""Has dbt execute other SQL than it means to, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cht_sync.dbt.subprocess.redirect import Redirect


@contextmanager
def redirected(redirect: Redirect) -> Iterator[None]:
    """All statements of dbt's go through a redirect first, whoever has written them: hooks, macros, models.

    What has bindings is of dbt's own: the rows of seeds.
    """
    from dbt.adapters.postgres.connections import PostgresConnectionManager

    manager: Any = PostgresConnectionManager
    adds = manager.add_query

    def add_query(self: Any, sql: str, auto_begin: bool = True, bindings: Any = None, *more: Any, **named: Any) -> Any:
        if bindings is None:
            connection = self.get_thread_connection()

            def ask(query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
                # Where the statement is to be executed: it may follow one that is not committed yet.
                with connection.handle.cursor() as cursor:
                    cursor.execute(query, values)
                    rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows

            with self.exception_handler(sql):
                sql = redirect.now(sql, connection.name or "", ask)
        return adds(self, sql, auto_begin, bindings, *more, **named)

    manager.add_query = add_query
    try:
        yield
    finally:
        manager.add_query = adds
