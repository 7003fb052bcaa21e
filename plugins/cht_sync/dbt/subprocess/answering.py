"""How a process of dbt's talks with the task that started it: a line of JSON for each command and each answer."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

from cht_sync.redaction import of_text

Command = dict[str, Any]
END: Command = {"do": "end"}


class Answers:
    """The pipe that answers go to, by any thread of dbt's."""

    def __init__(self, number: int) -> None:
        self._pipe = os.fdopen(number, "w")
        self._one = threading.Lock()

    def write(self, answer: Command) -> None:
        """Writes one line; what JSON cannot hold becomes text."""
        line = json.dumps(answer, default=str)
        with self._one:
            self._pipe.write(f"{line}\n")
            self._pipe.flush()


def answer(dbt: Any, answers: Answers) -> None:
    """Calls the method of dbt that each command names, until the last one or until stdin is closed, as by a death."""
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            commands.put(json.loads(line))
        # In the middle of a model too: nobody waits for it any more.
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while (command := commands.get()) != END:
        try:
            said = getattr(dbt, command.pop("do"))(**command)
        except Exception as error:
            # Told, or whoever waits would take it for a process that was killed.
            told = of_text(str(error))
            said = {"success": False, "exception": f"{type(error).__name__}: {told}", "results": None}
        answers.write(said)
