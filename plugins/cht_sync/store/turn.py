"""What whoever writes documents knows when it is its turn."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Turn(NamedTuple):
    """What a writer knows once it holds the lock of stamps; ``made_again_at``: rows up to it are of an old database."""

    stamp: datetime
    collisions: bool
    quarantine: bool
    older: bool
    made_again_at: datetime | None
