"""One Compose project of the repository's file, started and looked at from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cht_sync.settings.settings import REPOSITORY

PATIENCE_S = 900.0  # the machine may be busy with other tests


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


class Project:
    """The services of one profile.

    :param environ: what leads to the engine.
    :param name: of the project; its containers, volumes and networks have it.
    :param profile: of docker-compose.yml.
    :param variables: settings, in place of ``.env``, which is not read.
    :param files: further Compose files.
    """

    def __init__(
        self, environ: Mapping[str, str], name: str, profile: str, variables: Mapping[str, str], *files: Path
    ) -> None:
        self.name = name
        named = [f"--file={file}" for file in (REPOSITORY / "docker-compose.yml", *files)]
        options = [f"--project-name={name}", f"--profile={profile}", f"--env-file={os.devnull}", "--ansi=never"]
        self._command = ["docker", "compose", *options, f"--project-directory={REPOSITORY}", *named]
        self.environ = {**environ, **variables}

    def docker(self, *arguments: str, **options: Any) -> str:
        """What a command of the engine prints."""
        return self._run(["docker", *arguments], **options)

    def compose(self, *arguments: str, **options: Any) -> str:
        """What a command of Compose prints."""
        return self._run([*self._command, *arguments], **options)

    def exec(self, service: str, *command: str, **options: Any) -> str:
        """What a command prints in the container of a service."""
        return self.compose("exec", "-T", service, *command, **options)

    def succeeds(self, service: str, *command: str) -> bool:
        """Whether a command in the container of a service ends with 0."""
        said = self.exec(service, "sh", "-c", '"$@"; echo ":$?"', "sh", *command, check=False)
        return said.rstrip().endswith(":0")

    def states(self) -> dict[str, dict[str, Any]]:
        """By service: its container's state as the engine gives it."""
        return {_name(each): each["State"] for each in self._inspected()}

    def environments(self) -> dict[str, str]:
        """By service: everything the engine knows of its container, environment, command and mounts among it."""
        return {_name(each): json.dumps(each) for each in self._inspected()}

    def wait_until_healthy(self) -> None:
        """Waits until each service is healthy, runs where nobody asks it, or has ended well where it was to end."""

        def all_are() -> bool:
            states = self.states()
            for name, state in states.items():
                assert state["Status"] != "exited" or not state["ExitCode"], f"{name}: {self.logs(name)}"
            return bool(states) and all(
                state.get("Health", {}).get("Status", "healthy") == "healthy"
                and state["Status"] in {"running", "exited"}
                for state in states.values()
            )

        self.wait_for(all_are, "healthy")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Asks again and again."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {json.dumps(self.states(), indent=1)[:4000]}"
            time.sleep(3)

    def logs(self, service: str) -> str:
        """The end of what a service has printed."""
        return self.compose("logs", "--no-log-prefix", "--tail=60", service)

    def remove(self) -> None:
        """Leaves nothing of the project."""
        self.compose("down", "--volumes", "--timeout=20", check=False)

    def _inspected(self) -> list[dict[str, Any]]:
        names = self.compose("ps", "--all", "--quiet").split()
        return json.loads(self.docker("inspect", *names)) if names else []

    def _run(self, command: list[str], check: bool = True, timeout: float = PATIENCE_S, **options: Any) -> str:
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=timeout, check=False, **options
        )
        assert not check or done.returncode == 0, f"{command[-3:]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + (done.stderr if not check else "")


def _name(container: Mapping[str, Any]) -> str:
    """Its service; of several the second is ``worker-2``."""
    labels = container["Config"]["Labels"]
    service, number = labels["com.docker.compose.service"], labels["com.docker.compose.container-number"]
    return service if number == "1" else f"{service}-{number}"
