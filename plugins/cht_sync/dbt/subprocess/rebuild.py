"""dbt in a process of its own, for a rebuild."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest, WritableManifest

from cht_sync.dbt.subprocess import batches
from cht_sync.dbt.subprocess.answering import Answers, Command, answer
from cht_sync.dbt.subprocess.events import NO_CONSOLE, let_go, print_line
from cht_sync.dbt.subprocess.parsed import packed, read_large_seeds, unpacked
from cht_sync.dbt.subprocess.redirect import Redirect
from cht_sync.dbt.subprocess.runs import outcome
from cht_sync.dbt.subprocess.staging import TAG, move_to_staging
from cht_sync.postgres.keepalive import end_with_process
from cht_sync.redaction.in_dbt import redact_dbt


class Dbt:
    """Runs dbt in one project, which is parsed once, with the same options of project, target and folders."""

    def __init__(self, where: list[str]) -> None:
        self._where = where
        self._parsed = b""
        redact_dbt()
        batches.cover_batches()

    def parse(self, profiles: str) -> Command:
        """Parses the project, as an ordinary run does."""
        read_large_seeds()
        result = self._runner().invoke(self._command(["parse"], profiles))
        if result.success and isinstance(result.result, Manifest):
            # A run changes its manifest: each gets a copy.
            self._parsed = packed(result.result)
        return outcome(result)

    def modified(self, profiles: str, state: str) -> Command:
        """The models that differ from another manifest, which is in the folder ``state``."""
        try:
            WritableManifest.read_and_check_versions(os.path.join(state, "manifest.json"))
        except Exception as error:
            return {"success": True, "unreadable": f"{type(error).__name__}: {error}"[:300]}
        command = ["ls", "--quiet", "--state", state, "--select", "state:modified"]
        command += ["--resource-type=model", "--resource-type=seed"]
        command += ["--output", "json", "--output-keys", "unique_id"]
        result = self._runner(unpacked(self._parsed)).invoke(self._command(command, profiles))
        if not result.success:
            return outcome(result)
        lines = result.result if isinstance(result.result, list) else []
        return {"success": True, "modified": [json.loads(line)["unique_id"] for line in lines]}

    def run(self, profiles: str, members: list[str], schemas: dict[str, str], full_refresh: bool) -> Command:
        """Builds models in staging schemas.

        :param profiles: folder of the profile, whose schema is the staging schema.
        :param members: unique ids of the models.
        :param schemas: the staging schema for each schema of a model.
        :param full_refresh: from the beginning, or only what is new.
        :return: with ``waiting``, what the project wants done once the models are in place, see :class:`Redirect`.
        """
        manifest = unpacked(self._parsed)
        moved, database = move_to_staging(manifest, members, schemas)
        # Seeds and snapshots are made once; what arrives meanwhile is for models.
        kinds = {str(manifest.nodes[name].resource_type) for name in members}
        if not full_refresh and "model" not in kinds:
            return outcome(dbtRunnerResult(success=True))
        command = ["run"]
        if full_refresh and kinds - {"model"}:
            command = ["build", *(f"--resource-type={kind}" for kind in ("model", "seed", "snapshot"))]
        command += ["--no-write-json", "--select", f"tag:{TAG}", *(["--full-refresh"] if full_refresh else [])]
        redirect = Redirect(moved, schemas, database)
        with _redirected(redirect):
            done = self._runner(manifest).invoke(self._command(command, profiles))
        # Later runs of this process go on from what earlier ones have built.
        return {**outcome(done), "waiting": redirect.waiting, "batches": batches.noted}

    @staticmethod
    def _runner(manifest: Manifest | None = None) -> dbtRunner:
        return dbtRunner(manifest=manifest, callbacks=[print_line])

    def _command(self, command: list[str], profiles: str) -> list[str]:
        return ["--no-use-colors", *NO_CONSOLE, *command, "--profiles-dir", profiles, *self._where]


@contextmanager
def _redirected(redirect: Redirect) -> Iterator[None]:
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


def main(arguments: list[str]) -> None:
    """Answers the commands of a rebuild.

    :param arguments: file descriptor of the answers; options of every dbt command, as JSON; name of dbt's sessions.
    """
    end_with_process(arguments[2])
    answer(Dbt(json.loads(arguments[1])), Answers(int(arguments[0])))
    let_go()


if __name__ == "__main__":
    main(sys.argv[1:])
