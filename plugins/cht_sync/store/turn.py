"""What whoever writes documents knows when it is its turn."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Turn(NamedTuple):
    """What a writer knows when it is its turn.

    :param made_again_at: while a database that was made again is read: rows stamped up to here are of the one before.
    """

    stamp: datetime
    collisions: bool
    quarantine: bool
    older: bool
    made_again_at: datetime | None
