"""Projects whose CouchDB and PostgreSQL are elsewhere: two servers in the same network, under names of their own."""

from __future__ import annotations

from pathlib import Path

from tests.containers.conftest import IMAGE_TAG
from tests.containers.project import Project, free_port

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
FILES = ("couchdb_password", "postgres_password", "dbt_postgres_password")
SERVERS = """\
services:
  elsewhere-postgres:
    profiles: [{profile}]
    image: postgres:16.10-bookworm
    environment: {{POSTGRES_USER: copies, POSTGRES_PASSWORD: {password}, POSTGRES_DB: cht_sync}}
    networks: {{default: {{aliases: [db.example.org]}}}}
  elsewhere-couchdb:
    profiles: [{profile}]
    image: couchdb:3.5.0
    environment: {{COUCHDB_USER: reader, COUCHDB_PASSWORD: {password}}}
    ports: ["127.0.0.1:{port}:5984"]
    networks: {{default: {{aliases: [cht.example.org]}}}}
"""


def project(engine, profile: str, folder: Path, password: str, *files: Path, **variables: str) -> Project:
    """A profile with passwords in files, and servers that are named.

    :param folder: holds the files.
    :param password: the content of each.
    """
    for name in FILES:
        (folder / name).write_text(password)
        (folder / name).chmod(0o444)
    named = {f"{name.upper()}_FILE": str(folder / name) for name in FILES}
    given = {
        "CHT_IMAGE_TAG": IMAGE_TAG, "AIRFLOW_PORT": free_port(), "COUCHDB_HOST": "cht.example.org",
        "COUCHDB_PORT": "5984", "COUCHDB_SECURE": "false", "COUCHDB_USER": "reader", "COUCHDB_DBS": "medic",
        "POSTGRES_HOST": "db.example.org", "POSTGRES_USER": "copies",
    }  # fmt: skip
    return Project(engine, f"cht-containers-{profile}", profile, {**given, **named, **variables}, *files)


def servers(folder: Path, profile: str, password: str) -> tuple[Path, str]:
    """A Compose file that adds the two, and the port of CouchDB on this machine."""
    file, port = folder / "servers.yml", free_port()
    file.write_text(SERVERS.format(profile=profile, password=password, port=port))
    return file, port
