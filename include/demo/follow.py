"""Shows a DAG run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from include.demo.client import DONE, AirflowClient
from include.demo.errors import DemoError

LOOK_SECONDS = 0.5
FINISHED = {"success", "failed", "skipped", "upstream_failed"}


class Follower:
    """Follows one run to its end: a bar for each source, one for the models.

    :param client: of the Airflow that runs it.
    :param console: where to show it; plain lines where it is no terminal.
    :param totals: documents by source, where known.
    :param copied: tells documents copied by source.
    """

    def __init__(
        self,
        client: AirflowClient,
        console: Console,
        totals: dict[str, int],
        copied: Callable[[], dict[str, int]],
    ) -> None:
        self._client, self._console = client, console
        self._totals, self._copied = totals, copied
        self._seen: dict[str, str] = {}

    def follow(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Waits until a run has ended.

        :param dag_id: the DAG.
        :param run_id: the run.
        :param seconds: when to give up.
        :return: ``success`` or ``failed``.
        :raises DemoError: if it takes too long.
        """
        columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        deadline = time.monotonic() + seconds
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            bars = {name: progress.add_task(name, total=total) for name, total in self._totals.items()}
            models = progress.add_task("models", total=None)
            while time.monotonic() < deadline:
                state = self._client.run(dag_id, run_id)["state"]
                tasks = self._client.tasks(dag_id, run_id)
                self._tell(tasks)
                for name, count in self._copied().items():
                    if name in bars:
                        progress.update(bars[name], completed=count)
                drawn = [task for task in tasks if task["task_id"].startswith("models.")]
                ended = [task for task in drawn if task["state"] in FINISHED]
                progress.update(models, total=len(drawn) or None, completed=len(ended))
                if state in DONE:
                    return str(state)
                time.sleep(LOOK_SECONDS)
        raise DemoError(f"The run {run_id} did not end within {seconds:g} s: look at it in the UI.")

    def _tell(self, tasks: list[dict[str, Any]]) -> None:
        """Says once what has ended, each task by its name."""
        for task in sorted(tasks, key=lambda each: each["end_date"] or ""):
            name = " ".join(filter(None, (task["task_id"], task["rendered_map_index"])))
            state = task["state"] or ""
            if state in FINISHED and self._seen.get(name) != state:
                self._seen[name] = state
                colour = "green" if state == "success" else "red" if "failed" in state else "yellow"
                duration = f"{task['duration']:.1f} s" if task["duration"] else ""
                self._console.print(f"  [{colour}]{state:<16}[/] {name:<50} {duration}", highlight=False)


def failures(client: AirflowClient, dag_id: str, run_id: str) -> list[str]:
    """The end of the log of each task that failed.

    :param client: of the Airflow that ran it.
    :param dag_id: the DAG.
    :param run_id: the run.
    """
    failed = [task for task in client.tasks(dag_id, run_id) if task["state"] == "failed"]
    return [f"{task['task_id']}: …{client.log(task)[-1500:]}" for task in failed]
