"""Ends answers that drip: a time-out between two bytes never comes where each byte comes in time."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

FEWEST_BYTES = 256 * 1024
_thread = threading.local()


class Watch:
    """Looks at one request from a thread of its own, and ends its connection where too little comes.

    :param seconds: in each of which, one after the other, 256 KB have to come, or the end of the answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._socket: socket.socket | None = None
        self._bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow answers", daemon=True)

    def __enter__(self) -> Watch:
        _thread.watch = self
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        _thread.watch = None
        # Whoever forks after a request must not do so beside a thread that is just ending.
        self._thread.join()

    def came(self, size: int) -> None:
        """Tells of a part of the answer."""
        self._bytes += size

    def over(self, connection: socket.socket) -> None:
        """Tells over what the answer comes."""
        self._socket = connection

    def _run(self) -> None:
        seen = 0
        while not self._ended.wait(self.seconds):
            if self._bytes - seen < FEWEST_BYTES:
                self.expired = True
                with suppress(OSError):
                    if self._socket is not None:
                        # Not that of a TLS socket, which would change what the reading thread is using.
                        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                return
            seen = self._bytes


class _TellsItsSocket:
    sock: Any

    def getresponse(self) -> Any:
        watch = getattr(_thread, "watch", None)
        if watch is not None and self.sock is not None:
            watch.over(self.sock)
        return super().getresponse()  # type: ignore[misc]


class _Plain(_TellsItsSocket, HTTPConnection):
    pass


class _Encrypted(_TellsItsSocket, HTTPSConnection):
    pass


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
