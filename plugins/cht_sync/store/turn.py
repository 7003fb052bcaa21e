"""What whoever writes documents knows when it is its turn."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Turn(NamedTuple):
    """What a writer knows when it is its turn.

    :param stamp: ``saved_timestamp`` of what it writes.
    :param collisions: whether there are collisions.
    :param quarantine: whether documents of the source are in quarantine.
    :param older: whether older revisions than those stored were named for documents of the source.
    :param made_again_at: while a database that was made again is read: rows stamped up to here are of the one before.
    """

    stamp: datetime
    collisions: bool
    quarantine: bool
    older: bool
    made_again_at: datetime | None
