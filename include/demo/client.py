"""The few calls of Airflow's REST API that the demo makes."""

from __future__ import annotations

import time
from typing import Any

import requests

from include.demo.airflow import USER, AirflowServices
from include.demo.errors import DemoError

DONE = {"success", "failed"}
# A UI on a busy machine may take its time; what asks again and again has limits of its own.
PATIENCE_S = 90


class AirflowClient:
    """Speaks with the API server of the demo's Airflow.

    :param services: the running components.

    Source: https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
    """

    def __init__(self, services: AirflowServices) -> None:
        self._services = services
        self._session = requests.Session()

    def wait_for_dag(self, dag_id: str, seconds: float = 180.0) -> None:
        """Waits until the API answers and the DAG processor has read a DAG.

        :param dag_id: the DAG.
        :param seconds: when to give up.
        :raises DemoError: if a component ended, the DAG cannot be imported, or it takes too long.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._services.check()
            try:
                if "Authorization" not in self._session.headers:
                    self._sign_in()
                if self._call("GET", f"/api/v2/dags/{dag_id}", accept=(404,)):
                    return
                errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
                if errors:
                    raise DemoError(f"{errors[0]['filename']} cannot be imported: {errors[0]['stack_trace']}")
            except requests.RequestException:
                # It has not come up yet.
                pass
            time.sleep(0.3)
        raise DemoError(
            f"Airflow did not read the DAG {dag_id} within {seconds:g} s; its logs are in the demo's folder."
        )

    def trigger(self, dag_id: str) -> str:
        """Starts a run of a DAG, which is paused before and not paused after.

        :param dag_id: the DAG.
        :return: id of the run.
        """
        run = self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})
        self.unpause(dag_id)
        return str(run["dag_run_id"])

    def unpause(self, dag_id: str) -> None:
        """Lets the scheduler start runs of a DAG.

        :param dag_id: the DAG.
        """
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG.

        :param dag_id: the DAG.
        """
        return list(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        return dict(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))

    def clear(self, dag_id: str, run_id: str) -> None:
        """Lets all tasks of a run that has ended run again, as the button "Clear" of a run does.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear", json={"dry_run": False})

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        """All backfills of a DAG.

        :param dag_id: the DAG.
        """
        return list(self._call("GET", "/api/v2/backfills", params={"dag_id": dag_id})["backfills"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self._call("GET", path, params={"limit": 1000})["task_instances"])

    def log(self, task: dict[str, Any]) -> str:
        """The log of a task instance's last try, as text.

        :param task: from :meth:`tasks`.
        """
        path = (
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
            f"/logs/{max(task['try_number'], 1)}"
        )
        content = self._call("GET", path, params={"map_index": task["map_index"], "full_content": True})["content"]
        return "\n".join(line["event"] if isinstance(line, dict) else str(line) for line in content)

    def _sign_in(self) -> None:
        form = {"username": USER, "password": self._services.password}
        answer = self._session.post(f"{self._services.url}/auth/token", json=form, timeout=PATIENCE_S)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _call(self, method: str, path: str, accept: tuple[int, ...] = (), **options: Any) -> Any:
        answer = self._session.request(method, self._services.url + path, timeout=PATIENCE_S, **options)
        if answer.status_code == 401:
            self._sign_in()
            answer = self._session.request(method, self._services.url + path, timeout=PATIENCE_S, **options)
        if answer.status_code in accept:
            return None
        if not answer.ok:
            raise DemoError(f"Airflow refused {method} {path} with {answer.status_code}: {answer.text[:300]}")
        return answer.json()
