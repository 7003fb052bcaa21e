"""A database of a cluster that keeps several copies of each document, of which some lag, as seen on a real one.

- ``update_seq`` belongs to a copy: one that catches up skips the edits in between and stays lower for good.
- An answer of ``GET /{db}``, ``_changes`` and ``_all_docs`` is that of one copy, whichever comes first; documents by id
  are merged from two copies, unless the node that is asked is cut off from the others.
- A copy that lags hands out old revisions, does not know what it has not seen, and its feed ends with nothing pending.
- The seq of one copy is good on each other: what the other has beyond it is delivered, some of it again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator

from tests.integration.machine.cluster import Branch, ClusterDatabase
from tests.oracle.oracle import State

COPIES = 3


class _Copy(ClusterDatabase):
    """One copy; remembers what its feed has delivered up to each place."""

    copies = COPIES

    def __init__(self, name: str, seed: int, number: int) -> None:
        super().__init__(name, seed + number)
        self.number = number
        self.told: list[list[tuple[str, str, frozenset[str]]]] = [[] for _ in self._shards]

    def _seq(self, places: tuple[int, ...]) -> str:
        return f"{super()._seq(places)}@{self.number}"

    def places(self, seq: str) -> tuple[int, ...]:
        """Where the feed goes on behind a seq of this copy."""
        return super().places(seq.partition("@")[0])

    def _log(self, *states: State) -> None:
        super()._log(*states)
        shard = sum(states[-1].id.encode("utf-8", "surrogatepass")) % len(self._shards)
        # A document that falls back to a revision it was at before has changed once more: its tree has grown.
        ends = frozenset(end.state.rev for end in self.trees[states[-1].id])
        self.told[shard] += [(state.id, state.rev, ends) for state in states]

    def behind(self, other: _Copy, places: tuple[int, ...]) -> tuple[int, ...]:
        """Where this copy's feed goes on for somebody who has read another copy's up to some places."""
        return tuple(
            next(
                (n for n, state in enumerate(log) if state and mine[n] not in set(theirs[:place])),
                len(log),
            )
            for log, mine, theirs, place in zip(self._shards, self.told, other.told, places, strict=True)
        )


class ReplicatedDatabase:
    """Answers for a database as its copies do.

    :param name: of the database.
    :param seed: of which copy answers.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._truth = ClusterDatabase(name, seed)
        self._copies = [_Copy(name, seed, n) for n in range(COPIES)]
        self._lagging: set[int] = set()
        #: The copy that answers everything, where its node is cut off from the others.
        self.alone: int | None = None
        self.mishaps = self._truth.mishaps
        self._random = random.Random(seed)
        #: The states that each document was in, one after the other.
        self.history: dict[str, list[tuple[str, bool]]] = {}

    # --- what the test does --------------------------------------------------------------------

    @property
    def docs(self) -> dict[str, State]:
        """The documents as they are."""
        return self._truth.docs

    def put(self, id: str, rev: str, raw: bytes, *, deleted: bool = False) -> None:
        """A revision that follows the one which the document is at, or its first."""
        self._truth.put(id, rev, raw, deleted=deleted)
        self._spread(id)

    def branch(self, id: str, rev: str, raw: bytes, *, deleted: bool = False) -> None:
        """A revision that shares nothing with the others, as replication brings it."""
        self._truth.branch(id, rev, raw, deleted=deleted)
        self._spread(id)

    def _spread(self, id: str) -> None:
        state = self.docs[id]
        states = self.history.setdefault(id, [])
        if not states or states[-1] != (state.rev, state.deleted):
            states.append((state.rev, state.deleted))
        for number, copy in enumerate(self._copies):
            if number not in self._lagging:
                copy.take(id, self._truth.trees[id])

    def fall_behind(self, number: int) -> None:
        """Has a copy get nothing from now on; one always keeps up."""
        if len(self._lagging | {number}) < COPIES:
            self._lagging.add(number)

    def catch_up(self) -> None:
        """Has all copies be equal again, those that lagged without the edits in between."""
        for number in self._lagging:
            copy = self._copies[number]
            for id, tree in self._truth.trees.items():
                if copy.trees.get(id) != tree:
                    copy.take(id, tree)
        self._lagging.clear()
        self.alone = None

    def make_again(self, created: str) -> None:
        """Drops the database and makes it again, without any document."""
        mishaps = self.mishaps
        self.__init__(self.name, self._random.randrange(1000))  # type: ignore[misc]
        self.mishaps = mishaps
        for copy in self._copies:
            copy.created = created

    def restore(self) -> None:
        """Goes back to :meth:`snapshot`, on all nodes."""
        name, docs = self.name, self._backup
        self.__init__(name, self._random.randrange(1000))  # type: ignore[misc]
        for id, tree in docs.items():
            self._truth.take(id, tree)
            self._spread(id)

    def snapshot(self) -> None:
        """Takes a backup."""
        self._backup = dict(self._truth.trees)

    def forget(self, id: str, *, on: Collection[int] = range(COPIES)) -> None:
        """Has copies not know a document, as if it were purged there or had not arrived yet."""
        for number in on:
            self._copies[number].purge(id)

    def lag(self, id: str) -> None:
        """Has each copy deliver the state before, and a later one the newest again."""
        for copy in self._copies:
            copy.lag(id)

    # --- what the oracle reads -----------------------------------------------------------------

    @property
    def ids(self) -> Collection[str]:
        return self.docs.keys()

    def batches(self) -> Iterator[list[State]]:
        yield list(self.docs.values())

    # --- what the server answers ---------------------------------------------------------------

    def _one(self) -> _Copy:
        number = self._random.randrange(COPIES) if self.alone is None else self.alone
        copy = self._copies[number]
        copy.mishaps = self.mishaps
        return copy

    def info(self) -> bytes:
        """The answer of ``GET /{db}``."""
        return self._one().info()

    def changes(self, since: str, limit: int, interval: int, *, bodies: bool) -> bytes:
        """The answer of ``GET /{db}/_changes``."""
        copy = self._one()
        if since not in {"0", "now"}:
            other = self._copies[int(since.partition("@")[2])]
            if other is not copy:
                since = copy._seq(copy.behind(other, other.places(since)))
        return copy.changes(since, limit, interval, bodies=bodies)

    def all_docs(self, keys: list[str], *, bodies: bool) -> bytes:
        """The answer of ``POST /{db}/_all_docs`` with ``keys``."""
        return self._one().all_docs(keys, bodies=bodies)

    def listing(self, query: dict[str, str]) -> bytes:
        """The answer of ``GET /{db}/_all_docs``."""
        return self._one().listing(query)

    def purged_infos(self) -> bytes:
        """The answer of ``GET /{db}/_purged_infos``."""
        return json.dumps({"purged_infos": []}).encode()

    def _two(self) -> ClusterDatabase:
        """What two copies know together, or the one that is alone."""
        if self.alone is not None:
            return self._copies[self.alone]
        first, second = self._random.sample(self._copies, 2)
        both = ClusterDatabase(self.name, 0)
        for id in first.trees.keys() | second.trees.keys():
            ends = {end.state.rev: end for copy in (first, second) for end in copy.trees.get(id, [])}
            passed = {rev for end in ends.values() for rev in end.history[1:]}
            both.take(id, [end for rev, end in ends.items() if rev not in passed])
        return both

    def tree(self, id: str) -> list[Branch]:
        """All ends of a document's revision tree."""
        return self._two().tree(id)

    def ends(self, wanted: list[dict[str, str]]) -> bytes:
        """The answer of ``POST /{db}/_bulk_get`` with ``revs=true``."""
        return self._two().ends(wanted)

    def bulk_get(self, wanted: list[dict[str, str]]) -> bytes:
        """The answer of ``POST /{db}/_bulk_get``."""
        return self._two().bulk_get(wanted)

    def document(self, id: str, rev: str | None) -> bytes | None:
        """The answer of ``GET /{db}/{id}``."""
        return self._two().document(id, rev)
