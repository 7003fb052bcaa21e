"""A team's dbt project in a folder, deployed and run as the DAGs do it, in this process."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from cht_sync.dbt.deploy.active_version import expected_version, project_folder
from cht_sync.dbt.deploy.deploy import build_version, plan, switch
from cht_sync.dbt.deploy.look import Wish, look
from cht_sync.dbt.launch.profile import PROFILE, TARGET, ModelsProfile, models_environment, profile_text
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import BatchedRun
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings

PROJECT = {"dbt_project.yml": "name: team\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"}


class Told:
    """Stands for the tasks of the models."""

    def __init__(self):
        self.keep, self.status, self.result, self.modelled_to = False, {}, None, None

    def push_result(self, result, node):
        self.status[result.model.rpartition(".")[2]] = result.status

    def push_kept(self):
        pass

    def push_not_run(self, models, why):
        self.status |= {name.rpartition(".")[2]: "held" for name in models}


class Team:
    """One project, one database.

    :param folder: of the project; ``DBT_LOCAL_PATH`` names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings, self.planned, self.report = folder, Settings(), [], {}
        self.write(PROJECT)

    def write(self, files: dict[str, str | None]) -> None:
        """Writes files, or takes those away that are None."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def deploy(self, **wish):
        """What the tasks of ``cht_pipeline_deploy`` do; None where there was nothing to do."""
        wanted = Wish(**wish)
        goal = look(self.settings, wanted)
        goal = goal and build_version(self.settings, goal, wanted)
        if goal:
            self.planned = plan(self.settings, goal, wanted)
            self.report = switch(self.settings, goal, wanted, "test")
        return goal

    @property
    def rebuilt(self) -> set[str]:
        """Names of what the last deployment has built anew."""
        return {model["name"] for part in self.report["rebuilt"] for model in part["models"]}

    def dbt(self, *options: str) -> DbtRunner:
        """dbt in the version in use, parsed."""
        folder = project_folder(self.settings, expected_version(self.settings))
        profiles = self.folder.parent / "profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "profiles.yml").write_text(profile_text(self.settings))
        where = [
            "--project-dir",
            str(folder),
            "--profiles-dir",
            str(profiles),
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ]
        env = {
            **os.environ,
            **models_environment(self.settings),
            ModelsProfile.get_env_var_name("password"): os.environ["POSTGRES_PASSWORD"],
        }
        dbt = DbtRunner([sys.executable, "--no-use-colors", "run", *options, *where], env, str(folder))
        assert dbt.parse() is None
        return dbt

    def run(self, *options: str) -> Told:
        """What ``dbt_run`` of ``cht_sync`` does."""
        return self.run_with(self.dbt(*options))

    def run_with(self, dbt: DbtRunner) -> Told:
        """The same by a dbt that has parsed the version in use."""
        told = Told()
        runs = ModelRuns(postgres_connection(self.settings), self.settings.raw_table, self.settings.dbt_schema)
        with closing(ModelWatch(self.settings, dbt.lineage, dbt.compiled, False, told.push_result)) as watch:
            run = BatchedRun(dbt, watch, runs, told)
            told.result = run.execute()
        told.modelled_to = run.modelled_to
        return told
