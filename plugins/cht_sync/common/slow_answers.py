"""Ends answers that drip: a time-out between two bytes never comes where each byte comes in time."""

from __future__ import annotations

import threading
import time
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

FEWEST_BYTES = 256 * 1024
_thread = threading.local()


class Watch:
    """Gives up the requests of a thread, head and body, where too little of an answer comes.

    Every read from the socket is counted: one that brings nothing ends with the socket's own time-out.

    :param seconds: in each of which, one after the other, 256 KB have to come, or the end of the answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._begin()

    def __enter__(self) -> Watch:
        self._begin()
        _thread.watch = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.watch = None

    def _begin(self) -> None:
        self._received = self._unpacked = 0
        self._until = time.monotonic() + self.seconds

    def came(self, size: int) -> None:
        """Counts bytes of a body as they are unpacked: while many are made of few, none need come from the socket."""
        self._unpacked += size

    def received(self, size: int) -> None:
        """Counts bytes as they come from the socket.

        :raises TimeoutError: if too few have come.
        """
        self._received += size
        if time.monotonic() < self._until:
            return
        if max(self._received, self._unpacked) < FEWEST_BYTES:
            self.expired = True
            raise TimeoutError(f"not even {FEWEST_BYTES // 1024} KB in {self.seconds:g} s")
        self._begin()


class _WatchedSocket(RawIOBase):
    """What a response reads from, below its buffer: so no line of its head can drip either."""

    def __init__(self, raw: RawIOBase, watch: Watch) -> None:
        self._raw, self._watch = raw, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size = self._raw.readinto(buffer)
        if size:
            self._watch.received(size)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WatchedResponse(HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        watch = getattr(_thread, "watch", None)
        if watch is not None:
            self.fp = BufferedReader(_WatchedSocket(self.fp.detach(), watch))


class _Plain(HTTPConnection):
    response_class = _WatchedResponse


class _Encrypted(HTTPSConnection):
    response_class = _WatchedResponse


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


class WatchedAdapter(HTTPAdapter):
    """An adapter of requests whose connections a :class:`Watch` of the same thread can end."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools; see ``requests``."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}
