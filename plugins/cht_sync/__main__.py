"""The command line: ``python -m cht_sync COMMAND``, with ``plugins`` on PYTHONPATH."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    :param arguments: of the command line; ``sys.argv`` by default.
    :returns: 0, or 1 after an error that was told on stderr, where a copy is not equal, or after a check that failed.
    """
    parsed = _parser().parse_args(arguments)
    # Both are read once, when Airflow is imported: nobody at a terminal needs what it tells of itself.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("AIRFLOW__OPENLINEAGE__NAMESPACE", "cht_sync")
    from cht_sync.errors import CouchDBError, SettingsError, StoreError, SupersetError

    command: Callable[[argparse.Namespace], int | None] = parsed.command
    try:
        return command(parsed) or 0
    except (SettingsError, CouchDBError, StoreError, SupersetError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cht_sync", description="CHT Sync for Airflow")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pipeline = commands.add_parser("pipeline", help="install the dbt project that the settings name")
    pipeline.add_argument("--force", action="store_true", help="build it again even if nothing changed")
    pipeline.set_defaults(command=_pipeline)
    proof = commands.add_parser(
        "verify", help="compare all documents of CouchDB and Postgres; exit code 1 unless equal"
    )
    proof.add_argument("--content", action="store_true", help="compare contents too, not only revisions")
    proof.set_defaults(command=_verify)
    tombstones = commands.add_parser("tombstones", help="cut what is stored of deleted documents down to stubs")
    tombstones.add_argument("--dry-run", action="store_true", help="count them and change nothing")
    tombstones.set_defaults(command=_tombstones)
    check = commands.add_parser("check", help="tell what is missing for a run, one line for each prerequisite")
    check.set_defaults(command=_check)
    rename = commands.add_parser("rename-source", help="give the documents of a server or a database another source")
    rename.add_argument("old", metavar="OLD", help="<host>/<database> as Postgres has it, or the host for all of its")
    rename.add_argument("new", metavar="NEW", help="its name in the settings of now")
    rename.add_argument("--dry-run", action="store_true", help="only tell what would be renamed")
    rename.set_defaults(command=_rename_source)
    known = commands.add_parser(
        "acknowledge-test", help="say of a data test that it is known to fail, so that it turns nothing red"
    )
    known.add_argument("test", metavar="TEST", nargs="?", help="its name, or its unique id; without it all are listed")
    known.add_argument("--reason", default="", help="why it may fail, for whoever comes next")
    known.add_argument("--by", default="", help="who says so; the user of this machine by default")
    known.add_argument("--until", metavar="YYYY-MM-DD", help="the last day on which that counts; for good by default")
    known.add_argument("--at-most", metavar="ROWS", type=int, help="rows that it may find; any number by default")
    known.add_argument("--errors", action="store_true", help="also where the test cannot be run")
    known.add_argument("--remove", action="store_true", help="take it back")
    known.set_defaults(command=_acknowledge_test)
    dashboards = commands.add_parser("dashboards", help="import the dashboards of include/superset into Superset")
    dashboards.set_defaults(command=_dashboards)
    forms = commands.add_parser(
        "forms", help="list the forms of the CHT, show the columns of one, or take its models over"
    )
    _add_forms(forms.add_subparsers(required=True, metavar="list|show|eject"))
    starter = commands.add_parser("starter-manifest", help="write include/dbt/starter_manifest.json again")
    starter.set_defaults(command=_starter_manifest)
    return parser


def _add_forms(commands: Any) -> None:
    listed = commands.add_parser("list", help="a line for each form")
    listed.set_defaults(command=_forms, name="list_forms")
    shown = commands.add_parser("show", help="the columns of the tables of a form")
    shown.add_argument("code", metavar="CODE")
    shown.set_defaults(command=_forms, name="show_form")
    ejected = commands.add_parser("eject", help="write the models of a form into a dbt project of yours")
    ejected.add_argument("code", metavar="CODE")
    ejected.add_argument("--to", metavar="DIR", required=True, help="the folder of the project")
    ejected.set_defaults(command=_forms, name="eject_form")


def _forms(parsed: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.forms import command

    for line in getattr(command, parsed.name)(parsed):
        print(line)


def _pipeline(parsed: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.dbt.deploy.active_version import deployed_version
    from cht_sync.dbt.deploy.install import publish, stage
    from cht_sync.settings.settings import Settings

    settings = Settings()
    made = stage(settings, force=parsed.force)
    print(f"{made.source} ({made.revision[:12]}), {made.models} models, dbt {made.dbt_version}, in {made.path}")
    in_use = deployed_version(settings)
    if in_use and in_use.version != made.version:
        print(
            f"The tables in the database come from {in_use.text}: the DAG cht_pipeline_deploy rebuilds what changed"
            " and switches, within ten minutes or when it is triggered."
        )
        return
    publish(settings, made)


def _verify(parsed: argparse.Namespace) -> int:
    _read_settings()
    from cht_sync.reconcile.report import table
    from cht_sync.reconcile.verify import verify
    from cht_sync.settings.settings import Settings

    lines = verify(Settings(), parsed.content)
    print(table(lines))
    return 0 if all(line.equal for line in lines) else 1


def _tombstones(parsed: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.settings.settings import Settings
    from cht_sync.store.tombstones import cut_tombstones

    cut_tombstones(Settings(), parsed.dry_run)


def _check(_: argparse.Namespace) -> int:
    _read_env_file()
    from cht_sync.check.command import check

    return check()


def _rename_source(parsed: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.settings.settings import Settings
    from cht_sync.sync.rename_source import rename_sources

    for line in rename_sources(Settings(), {parsed.old: parsed.new}, parsed.dry_run):
        print(f"Would rename {line}" if parsed.dry_run else f"Renamed {line}")


def _acknowledge_test(parsed: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.dbt.acknowledge_test import acknowledge

    for line in acknowledge(parsed):
        print(line)


def _dashboards(_: argparse.Namespace) -> None:
    _read_settings()
    from cht_sync.dashboards.command import import_dashboards
    from cht_sync.dashboards.settings import SupersetSettings

    print(import_dashboards(SupersetSettings()))


def _read_settings() -> None:
    """Finds settings where a task would: in ``.env``, in the environment and in Airflow's connections."""
    _read_env_file()
    from cht_sync.check.airflow_database import use_airflows_connections

    use_airflows_connections()


def _read_env_file() -> None:
    """Takes from ``.env`` in the current folder what the environment does not say, as the demo and Docker Compose do.

    Airflow has no need of the package that reads it, so that it may be missing.
    """
    try:
        from dotenv import dotenv_values
    except ImportError:
        return
    for name, value in dotenv_values(".env").items():
        if value:
            os.environ.setdefault(name, value)


def _starter_manifest(_: argparse.Namespace) -> None:
    from cht_sync.dbt.deploy.install import fresh_graph
    from cht_sync.dbt.project.version import STARTER_GRAPH

    STARTER_GRAPH.write_text(fresh_graph())
    print(STARTER_GRAPH)


if __name__ == "__main__":
    sys.exit(main())
