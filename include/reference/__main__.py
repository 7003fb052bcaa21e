"""``python -m include.reference``: writes docs/reference-*.md and .env.template anew.

It starts a PostgreSQL of its own for a moment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg2

from include.demo.postgres import PostgresServer
from include.demo.servers import foreign


def main() -> None:
    """Writes ``.env.template`` and the three pages."""
    for name in set(os.environ) - set(foreign(os.environ)):
        # The pages hold the defaults, not what is set here.
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="cht-sync-reference-"))
    home.chmod(0o755)
    os.environ["AIRFLOW_HOME"] = str(home)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    try:
        _write(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _write(home: Path) -> None:
    from cht_sync.settings.connections import postgres_connection
    from cht_sync.settings.settings import REPOSITORY, RawTable, Settings
    from cht_sync.store.document_store import DocumentStore
    from include.reference.dags_page import dags_page
    from include.reference.settings_page import env_template, settings_page
    from include.reference.tables_page import tables_page

    docs = REPOSITORY / "docs"
    (REPOSITORY / ".env.template").write_text(env_template())
    (docs / "reference-settings.md").write_text(settings_page())
    (docs / "reference-dags.md").write_text(dags_page(REPOSITORY / "dags"))
    with PostgresServer(home / "postgres") as server:
        variables = {
            "POSTGRES_HOST": server.host, "POSTGRES_PORT": str(server.port), "POSTGRES_USER": server.user,
            "POSTGRES_PASSWORD": server.password, "POSTGRES_DB": "reference",
        }  # fmt: skip
        server.create_database("reference")
        with DocumentStore(postgres_connection(Settings(variables)), RawTable("v1", "couchdb")) as store:
            store.prepare()
        with closing(psycopg2.connect(server.dsn("reference"))) as conn, conn.cursor() as cursor:
            (docs / "reference-tables.md").write_text(tables_page(cursor, "v1"))


if __name__ == "__main__":
    main()
