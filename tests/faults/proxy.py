"""A TCP proxy that does to a connection what networks and servers do."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

END = 2**62  # of an answer, wherever that is
_READ = 64 * 1024
_NEVER = 2**62
_LINGER_NOT = struct.pack("ii", 1, 0)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_COMPRESSED = re.compile(rb"\r\naccept-encoding: *[^\r]*", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(eq=False)
class Fault:
    """What happens to an exchange: a request of the client, and the answer to it.

    :param match: only to a request with these bytes; any by default.
    :param after: only on a connection on which the client has sent these bytes before, or with the request.
    :param times: to so many exchanges; None for good.
    :param chance: how likely it happens to an exchange that it could happen to.
    :param latency: seconds before the answer.
    :param bandwidth: bytes of the answer in a second.
    :param plain: ask the server for an answer that is not compressed, as CouchDB's never are.
    :param piece: largest piece, of request and answer, that is sent at once.
    :param close_at: end the connection after so many bytes of the answer; :data:`END` after the whole (of HTTP);
        with 0 the server has done what it was asked, and nobody hears of it.
    :param reset: end it by RST; otherwise as if all had been said.
    :param forward: let the server see the request; where not, the connection ends in its stead.
    :param hang: take the request and never answer.
    :param idle: end the connection, in the middle of the answer or before it, once the server says nothing for so many
        seconds.
    :param answer: send this in place of what the server would say, then end the connection.
    :param do: called, in a thread, before the request goes on or the client hears anything.
    """

    match: bytes = b""
    after: bytes = b""
    times: int | None = None
    chance: float = 1.0
    latency: float = 0.0
    bandwidth: int | None = None
    plain: bool = False
    piece: int = _NEVER
    close_at: int | None = None
    reset: bool = True
    forward: bool = True
    hang: bool = False
    idle: float | None = None
    answer: bytes | None = None
    do: Callable[[], object] | None = None
    hits: int = field(default=0, init=False)
    """How many times it has happened."""


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer for :attr:`Fault.answer`; ``Retry_After`` becomes ``Retry-After``."""
    fields = {"Content_Type": "application/json", "Content_Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} Fault", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class FaultProxy:
    """Stands between a client and the server at an address, on a free port of its own.

    The first fault that applies to an exchange happens to it; faults are set and taken away at any time, by any
    thread, and hold for exchanges that begin from then on.

    :param host: of the server.
    :param port: of the server.
    :param seed: of what is left to chance.
    """

    def __init__(self, host: str, port: int, seed: int = 1) -> None:
        self.server = (host, port)
        self.port = 0
        self.connections = 0
        self.exchanges = 0
        self.injected = 0
        self._faults: list[Fault] = []
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._listener: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._run(self._end_links())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._errors:
            raise self._errors[0]

    def inject(self, fault: Fault) -> Fault:
        """Makes a fault happen from now on, after those that are set already.

        :return: the same, whose ``hits`` tell how often it has happened.
        """
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Takes all faults away; a hanging exchange hangs on."""
        with self._lock:
            self._faults.clear()

    def refuse(self) -> None:
        """Refuses new connections, as if no server ran."""
        self._run(self._close_listener())

    def listen(self) -> None:
        """Takes connections, again on the same port."""
        self._run(self._open_listener())

    def reset_all(self) -> None:
        """Resets every connection that is open."""
        self._run(self._end_links())

    # --- inside the loop -----------------------------------------------------------------------

    def _run(self, call: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(call, self._loop).result(10)

    async def _open_listener(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _end_links(self) -> None:
        tasks = list(self._links)
        for task in tasks:
            self._links[task].end(reset=True)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = link
        try:
            # Cancelled only by ourselves; asyncio would print it as an error.
            with suppress(asyncio.CancelledError):
                await link.run()
        finally:
            link.end(reset=False)
            del self._links[task]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to the server, for a client that has connected."""
        return await asyncio.open_connection(*self.server)

    def choose(self, request: bytes, seen: Callable[[bytes], bool], begins: bool) -> Fault | None:
        """The fault that happens to an exchange, if any.

        :param request: what the client has just sent.
        :param seen: whether it has sent some bytes before.
        :param begins: whether this is how the request begins, where those happen that match any.
        """
        with self._lock:
            self.exchanges += begins
            for fault in self._faults:
                matches = fault.match in request if fault.match else begins
                if not matches or not (fault.after in request or seen(fault.after)) or fault.times == 0:
                    continue
                if fault.chance < 1 and self._random.random() >= fault.chance:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def watched(self) -> list[bytes]:
        """What connections have to remember having seen."""
        with self._lock:
            return [fault.after for fault in self._faults if fault.after]

    async def call(self, do: Callable[[], object]) -> None:
        """Runs what a fault does; its failure is raised where the proxy ends."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, do)
        except Exception as error:
            self._errors.append(error)
            raise

    def count(self, fault: Fault) -> None:
        """Counts a fault that happens now."""
        fault.hits += 1
        self.injected += 1


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._upstream: asyncio.StreamWriter | None = None
        self._fault: Fault | None = None
        self._seen: set[bytes] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._answered = True  # the next bytes of the client begin an exchange
        self._sent = 0  # bytes of the answer of this exchange
        self._close_at: int | None = None
        self._heard = asyncio.Event()
        self._ended = False
        self._watcher: asyncio.Task[None] | None = None

    def end(self, reset: bool) -> None:
        for writer in (self._writer, self._upstream):
            if writer is None or writer.transport.is_closing():
                continue
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                writer.transport.abort()
            else:
                writer.close()

    async def run(self) -> None:
        with suppress(OSError):
            answers, self._upstream = await self._proxy.connect()
            ways = [asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._answers(answers))]
            try:
                # Whoever ends first, ends the connection; half-closed ones are of no use to either protocol.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in [*ways, *([self._watcher] if self._watcher else [])]:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        assert self._upstream is not None
        while data := await self._reader.read(_READ):
            begins, self._answered = self._answered, False
            if begins:
                self._fault, self._sent, self._close_at = None, 0, None
            fault = self._proxy.choose(data, self._seen.__contains__, begins)
            self._seen.update(each for each in self._proxy.watched() if each in data)
            if fault is not None:
                self._fault, self._sent, self._close_at = fault, 0, fault.close_at
                if fault.do is not None:
                    self._proxy.count(fault)
                    self._quiet.clear()
                    await self._proxy.call(fault.do)
                    self._quiet.set()
                if fault.idle is not None:
                    self._watcher = asyncio.ensure_future(self._cut_when_idle(fault, fault.idle))
                if fault.hang:
                    self._proxy.count(fault)
                    await asyncio.Event().wait()
                if fault.answer is not None:
                    self._proxy.count(fault)
                    self._writer.write(fault.answer)
                    return
                if not fault.forward:
                    self._proxy.count(fault)
                    self.end(fault.reset)
                    return
                if fault.plain:
                    data = _COMPRESSED.sub(b"\r\nAccept-Encoding: identity", data)
            await self._send(self._upstream, data)

    async def _cut_when_idle(self, fault: Fault, seconds: float) -> None:
        self._heard.set()
        while self._heard.is_set() and fault is self._fault:
            self._heard.clear()
            await asyncio.sleep(seconds)
        if fault is self._fault and not self._ended:
            self._proxy.count(fault)
            self.end(fault.reset)

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while data := await self._read_answer(reader):
            self._heard.set()
            self._ended = data.endswith(_LAST_CHUNK)
            fault = self._fault
            if fault is not None and not self._answered:
                if fault.close_at is None and (fault.latency or fault.bandwidth or fault.piece != _NEVER):
                    self._proxy.count(fault)
                await asyncio.sleep(fault.latency)
                head = data.partition(b"\r\n\r\n")[0]
                if self._close_at == END and (found := _LENGTH.search(head)):
                    self._close_at = len(head) + 4 + int(found[1])
            self._answered = True
            if self._close_at == END and data.endswith(_LAST_CHUNK):
                self._close_at = self._sent + len(data)
            rest = END if self._close_at is None else self._close_at - self._sent
            self._sent += len(data)
            await self._send(self._writer, data[:rest])
            if fault is not None and len(data) >= rest:
                self._proxy.count(fault)
                self.end(fault.reset)
                return

    async def _read_answer(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(_READ)
        # What a fault does is done before the client hears of it.
        await self._quiet.wait()
        return data

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        fault = self._fault
        bandwidth = fault.bandwidth if fault is not None and writer is self._writer else None
        most = min(fault.piece if fault is not None else _NEVER, (bandwidth or _NEVER) // 20 or 1)
        for start in range(0, len(data), most):
            piece = data[start : start + most]
            writer.write(piece)
            await writer.drain()
            # Without a pause, pieces that wait for the kernel would go as one.
            await asyncio.sleep(len(piece) / bandwidth if bandwidth else 0)
