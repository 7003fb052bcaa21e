"""Notices a CouchDB database that was dropped and recreated, or that is gone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cht_sync.couchdb.structs import DatabaseInfo
from cht_sync.errors import SettingsError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.store.checkpoints import SourceState

SECOND_LOOK_S = 2.0
# Before it the time was that of the server's start (1.x) or always "0" (2.x to 3.2).
# Source: https://docs.couchdb.org/en/stable/api/database/common.html
TRUSTWORTHY = (3, 3)
SECONDS = re.compile(r"\d{10}")


def says_when_made(hook: CouchDBHook, info: DatabaseInfo) -> bool:
    """Whether ``instance_start_time`` is when the database was made."""
    if info.instance_start_time in {"", "0"}:
        return False
    version = hook.version()
    # Where nobody says which version it is: what old ones say of their start they say in microseconds.
    return version >= TRUSTWORTHY if version else bool(SECONDS.fullmatch(info.instance_start_time))


def sign_of_recreation(
    look_again: Callable[[], DatabaseInfo], info: DatabaseInfo, instance: str | None, state: SourceState
) -> str | None:
    """Why the checkpoint is of another database than the one that is there now.

    CouchDB answers an old seq with an empty page and nothing pending, so that nothing else would show it. The number of
    ``update_seq`` is a sign only where it is all there is to a seq, on servers without a cluster (CouchDB 1.x,
    PouchDB): in a cluster it belongs to one copy of a shard, and equal copies differ in it for good.

    :return: a half sentence; None where it is the same database, as far as one can see.
    """
    if state.seq is None:
        return None
    if instance and state.instance not in {None, "", "0"}:
        if state.instance == instance:
            return None
        return f"it was made at {instance}, the checkpoint is of one made at {state.instance}"
    if bytes(info.update_seq).isdigit() and stays_behind(look_again, info, state.seq):
        return "its update_seq lies behind the checkpoint"
    return None


def stays_behind(look_again: Callable[[], DatabaseInfo], info: DatabaseInfo, seq: str) -> bool:
    """Whether ``update_seq`` lies behind a checkpoint twice in a row; means something only where there is one copy."""
    if not _is_behind(info, seq):
        return False
    time.sleep(SECOND_LOOK_S)
    return _is_behind(look_again(), seq)


def check_not_emptied(source: str, info: DatabaseInfo, recreated: bool, has_rows: Callable[[], bool]) -> None:
    """Refuses to delete all documents of a source because its database is empty."""
    was_emptied = info.doc_count == 0 and (recreated or info.doc_del_count == 0)
    if was_emptied and has_rows():
        raise SettingsError(
            f"Database {info.db_name!r} is empty, and Postgres holds documents of {source}: nothing was changed."
            " Restore the database; or, if the documents are to go from Postgres and the models too, trigger"
            f" cht_sync with confirm_gone={json.dumps([source])}."
        )


def _is_behind(info: DatabaseInfo, seq: str) -> bool:
    now, then = number_of(bytes(info.update_seq).decode()), number_of(seq)
    return now is not None and then is not None and now < then


def number_of(seq: str | None) -> int | None:
    """The number that a seq of CouchDB begins with: fit to see what rises, and for nothing else."""
    found = re.match(r'[\["]*(\d+)', seq or "")
    return int(found[1]) if found else None
