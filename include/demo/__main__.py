"""``make demo``: everything from nothing to models, on this machine alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cht_sync.settings.settings import Settings
from include.demo.airflow import REPOSITORY, USER, AirflowServices
from include.demo.census import Census, census
from include.demo.client import DONE, AirflowClient
from include.demo.counts import Destination, Line, model_lines, source_lines
from include.demo.errors import DemoError
from include.demo.fill import fill
from include.demo.follow import Follower, failures
from include.demo.servers import Servers, foreign, settings_of

DAG_ID = "cht_sync"
DEPLOY_DAG_ID = "cht_pipeline_deploy"
DATA_TESTS_DAG_ID = "cht_data_tests"
RUN_SECONDS = 3600.0
OTHER_PROJECT = ("CHT_PIPELINE_BRANCH_URL", "DBT_LOCAL_PATH", "DBT_PACKAGE_TARBALL_URL")


class Demo:
    """One demo, from its servers to its table.

    :param folder: everything the demo keeps is in it.
    :param settings: environment and ``.env``.
    :param console: where to tell of it.
    """

    def __init__(self, folder: Path, settings: dict[str, str], console: Console) -> None:
        self._folder, self._settings, self._console = folder, settings, console
        self._oneshot = settings.get("ONESHOT", "") not in {"", "0"}

    def run(self) -> int:
        """Runs it.

        :return: exit code; 0 if the run succeeded and the counts agree with CouchDB.
        :raises DemoError: if something cannot be started.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            project = self._begin_project(stack)
            servers = self._start_servers(stack)
            airflow = self._start_airflow(servers, stack)
            self._finish_project(project)
            client = AirflowClient(airflow)
            with self._step("Waiting for Airflow to read the DAG"):
                client.wait_for_dag(DAG_ID)
            airflow.start_rest()
            good = self._sync(client, servers, began)
            self._console.print(
                f"\nAirflow: [link]{airflow.url}/dags/{DAG_ID}[/link]   login: {USER}   password: {airflow.password}",
                highlight=False,
            )
            if not self._oneshot:
                if good and servers.couchdb is not None and not self._other_project:
                    self._make_form_tables(client)
                # Not waited for: it tests the models and publishes what the menu shows as dbt docs.
                client.trigger(DATA_TESTS_DAG_ID)
                self._serve(airflow)
        return 0 if good else 1

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        """Says what goes on, and afterwards how long it took."""
        began = time.monotonic()
        with self._console.status(f"{text} …"):
            yield
        self._console.print(f"{text}: {time.monotonic() - began:.1f} s", style="dim", highlight=False)

    # --- steps ---------------------------------------------------------------------------------

    def _start_servers(self, stack: ExitStack) -> Servers:
        with self._step("Starting the servers (the first time also installs them)"):
            servers = Servers.start(self._folder, self._settings, stack)
        if servers.couchdb is None:
            return servers
        documents = int(self._settings.get("DOCUMENTS", "20000"))
        with self._step(f"Filling CouchDB with a deployment of {documents:,} documents"):
            report = fill(
                servers.couchdb.url,
                servers.couchdb.auth,
                documents,
                int(self._settings.get("SEED", "1")),
                # Other projects than the starter may stop at a malformed date.
                malformed=0.0 if self._other_project else 0.002,
            )
        if not report.already_filled:
            self._console.print(
                f"CouchDB holds {report.documents:,} generated documents, {report.edits:,} of them edited and"
                f" {report.deletes:,} deleted ({report.seconds:.0f} s)."
            )
        return servers

    def _start_airflow(self, servers: Servers, stack: ExitStack) -> AirflowServices:
        environment = {**servers.settings, "CHT_PIPELINE_DIR": self._pipeline}
        if self._oneshot:
            environment["CHT_SYNC_SCHEDULE"] = "none"
        port = self._settings.get("UI_PORT")
        airflow = AirflowServices(self._folder / "airflow", servers.metadata, environment, int(port) if port else None)
        stack.callback(airflow.stop)
        with self._step("Starting Airflow"):
            airflow.start()
        return airflow

    @property
    def _other_project(self) -> bool:
        return any(name in self._settings for name in OTHER_PROJECT)

    @property
    def _pipeline(self) -> str:
        return self._settings.get("CHT_PIPELINE_DIR") or str(self._folder / "pipeline")

    def _begin_project(self, stack: ExitStack) -> subprocess.Popen[str]:
        """Starts to install the dbt project, which needs no server, while the servers start."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cht_sync", "pipeline"],
            env={
                **os.environ,
                **self._settings,
                "CHT_PIPELINE_DIR": self._pipeline,
                "PYTHONPATH": str(REPOSITORY / "plugins"),
                "AIRFLOW_HOME": str(self._folder / "airflow"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.terminate)
        return process

    def _finish_project(self, process: subprocess.Popen[str]) -> None:
        with self._step("Installing the dbt project"):
            said, complaint = process.communicate()
        if process.returncode:
            raise DemoError(complaint.strip() or "The dbt project could not be installed.")
        self._console.print((complaint + said).strip(), highlight=False)

    def _sync(self, client: AirflowClient, servers: Servers, began: float) -> bool:
        destination = Destination(servers.settings)
        run_began = time.monotonic()
        totals = self._totals(servers)

        def copied() -> dict[str, int]:
            return {name.rpartition("/")[2]: sum(each) for name, each in destination.sources().items()}

        run_id = client.trigger(DAG_ID)
        state = Follower(client, self._console, totals, copied).follow(DAG_ID, run_id, RUN_SECONDS)
        seconds = time.monotonic() - run_began
        for failure in failures(client, DAG_ID, run_id):
            self._console.print(failure, style="red", highlight=False, markup=False)
        lines = self._lines(servers, destination)
        self._console.print(_table(lines))
        agree = all(line.agrees for line in lines)
        self._console.print(
            f"Run {'[green]succeeded[/]' if state == 'success' else '[red]failed[/]'} in {seconds:.1f} s"
            f" ({time.monotonic() - began:.0f} s with all servers); the counts"
            f" {'[green]agree[/]' if agree else '[red]do not agree[/]'} with CouchDB."
        )
        return state == "success" and agree

    def _make_form_tables(self, client: AirflowClient) -> None:
        """Deploys the models of the forms whose definitions the first run has read."""
        with self._step(f"Making a table for each form, by the DAG {DEPLOY_DAG_ID}"):
            run_id = client.trigger(DEPLOY_DAG_ID)
            while client.run(DEPLOY_DAG_ID, run_id)["state"] not in DONE:
                time.sleep(1)
        for failure in failures(client, DEPLOY_DAG_ID, run_id):
            self._console.print(failure, style="red", highlight=False, markup=False)

    def _totals(self, servers: Servers) -> dict[str, int]:
        from include.demo.couch import Couch

        couch = Couch(*self._couchdb(servers))
        totals = {}
        for database in self._databases(servers):
            info = couch.call("GET", database.replace("/", "%2F"))
            totals[database] = info["doc_count"] + info.get("doc_del_count", 0)
        return totals

    def _lines(self, servers: Servers, destination: Destination) -> list[Line]:
        with self._step("Counting in CouchDB"):
            counted: Census = census(*self._couchdb(servers), self._databases(servers))
        rows = destination.rows([*counted.models, "document_rejects"])
        if rows["document_rejects"] is None:  # a model of the starter alone
            del rows["document_rejects"]
        return source_lines(counted, destination.sources()) + model_lines(counted, rows)

    def _couchdb(self, servers: Servers) -> tuple[str, tuple[str, str]]:
        couchdb = Settings(servers.settings).couchdb
        url = f"{'https' if couchdb.secure else 'http'}://{couchdb.host}:{couchdb.port}"
        return url, (couchdb.user, couchdb.password)

    def _databases(self, servers: Servers) -> list[str]:
        return servers.settings["COUCHDB_DBS"].replace(",", " ").split()

    def _serve(self, airflow: AirflowServices) -> None:
        mode = self._settings.get("CHT_SYNC_MODE") or "schedule"
        starts = "on its schedule" if mode == "schedule" else "as soon as something changes in CouchDB"
        self._console.print(f"The sync runs {starts}. Ctrl-C ends the demo; its data stay in .demo/.")
        with suppress(KeyboardInterrupt):
            while True:
                airflow.check()
                time.sleep(1)
        self._console.print("\nEnding the servers …")


def _table(lines: list[Line]) -> Table:
    table = Table("", "CouchDB", "Postgres", "", title="CouchDB against Postgres", title_justify="left")
    for column in (1, 2):
        table.columns[column].justify = "right"
    for line in lines:
        counts = ("" if each is None else f"{each:,}" for each in (line.expected, line.found))
        table.add_row(
            line.name,
            *counts,
            "[green]✓ equal[/]"
            if line.expected is not None and line.agrees
            else ""
            if line.agrees
            else "[red]✗ differs[/]",
        )
    return table


def main() -> int:
    """Runs the demo of this checkout; Ctrl-C, SIGTERM and a closed terminal end it, also in the background."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # Where nobody watches, lines need not break at 80 characters.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    folder = Path(os.environ.get("DEMO_DIR") or REPOSITORY / ".demo").absolute()
    try:
        settings = settings_of(Path(os.environ.get("DEMO_ENV_FILE") or REPOSITORY / ".env"))
        # From here on settings go to the processes by name, not by inheritance.
        for name in set(os.environ) - set(foreign(os.environ)):
            del os.environ[name]
        return Demo(folder, settings, console).run()
    except DemoError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nThe demo has ended.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
