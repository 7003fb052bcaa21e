"""A process of dbt's own, seen from the task that started it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cht_sync.dbt.launch import warm_dbt
from cht_sync.dbt.subprocess.events import read_line
from cht_sync.redaction import without_secrets

log = logging.getLogger(__name__)
END_WITHIN_S = 10
OnEvent = Callable[[dict[str, Any]], None]


class ProcessEndedError(Exception):
    """The process has ended before it answered, by a signal where ``code`` is negative; the text says how."""

    def __init__(self, code: int, last: str = "") -> None:
        self.code = code
        if code >= 0:
            super().__init__(f"dbt ended by itself (exit code {code}, its last words: {last or 'none'})")
            return
        memory = ", mostly because this machine ran out of memory," if -code == signal.SIGKILL else ""
        by = {-each: each.name for each in signal.Signals}.get(code, f"signal {-code}")
        super().__init__(f"dbt was ended from outside (exit code {code}) by {by}{memory}")


class OwnProcess:
    """Starts a program of ``cht_sync.dbt.subprocess``, which ends with this process, however that ends.

    :param environment: all variables that it begins with.
    :param secrets: what its output must not show.
    """

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        folder: Path,
        arguments: Iterable[str] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        self._secrets = [each for each in secrets if each]
        self.ended, self._last = False, ""
        (stdin, commands), (said, output), (reading, answers) = os.pipe(), os.pipe(), os.pipe()
        theirs = warm_dbt.Pipes(stdin, output, answers)
        try:
            self._process = warm_dbt.start(module, list(arguments), environment, folder, theirs)
        except BaseException:
            for each in (commands, said, reading):
                os.close(each)
            raise
        finally:
            for each in theirs:
                os.close(each)
        self._commands: IO[str] = os.fdopen(commands, "w")
        self._answers: IO[str] = os.fdopen(reading)
        self._logged = threading.Thread(target=self._log_output, args=(os.fdopen(said, errors="replace"),), daemon=True)
        self._logged.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, command: str, on_event: OnEvent | None = None, **more: Any) -> dict[str, Any]:
        """Gives a command and waits for its answer.

        :param command: name of a method of the program.
        :param on_event: is given what the program says meanwhile.
        :raises ProcessEndedError: if the process ends before.
        """
        try:
            self._commands.write(json.dumps({"do": command, **more}) + "\n")
            self._commands.flush()
            for line in self._answers:
                answer: dict[str, Any] = json.loads(line)
                if "event" not in answer:
                    return answer
                if on_event:
                    on_event(answer["event"])
        except BrokenPipeError:
            pass
        self.ended = True
        code = self._process.wait()
        if code >= 0:
            self._logged.join(END_WITHIN_S)
        raise ProcessEndedError(code, self._last)

    def end(self, at_once: bool = False) -> None:
        """Ends the process, ``at_once`` in the middle of a model too."""
        with suppress(OSError):
            if at_once:
                self._commands.close()
            else:
                self._commands.write('{"do": "end"}\n')
                self._commands.flush()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(OSError):
            self._commands.close()
        self._logged.join(END_WITHIN_S)
        self._answers.close()

    def _log_output(self, output: IO[str]) -> None:
        with output:
            for line in output:
                level, text = read_line(line)
                shown = without_secrets(text, self._secrets)
                self._last = shown or self._last
                log.log(level, "dbt: %s", shown)
