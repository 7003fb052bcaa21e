"""TLS in front of a PostgreSQL that was built without it, as the one in the wheel of the tests is.

It speaks what a client says before it says who it is, then hands bytes on. A real server with ``ssl = on`` is in
test_postgres_own_tls.py, for machines that have one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from typing import Any

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)


class TLSProxy:
    """Listens on 127.0.0.1 for a server behind it.

    :param target: host and port of the server.
    :param certificate: certificate and key; without them it says that it offers no TLS.
    :param clients: the authority that a client's certificate must come from.
    """

    def __init__(
        self, target: tuple[str, int], certificate: tuple[str, str] | None = None, clients: str | None = None
    ) -> None:
        self._target = target
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
            if clients:
                self._context.load_verify_locations(clients)
                self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.encrypted = self.plain = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops listening; connections that are open go on."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            first = client.recv(8)
            while first in {SSL_REQUEST, GSS_REQUEST}:
                if first == SSL_REQUEST and self._context:
                    client.sendall(b"S")
                    with self._context.wrap_socket(client, server_side=True) as wrapped:
                        first = wrapped.recv(8)
                        self.encrypted += bool(first)
                        self._hand_on(wrapped, first)
                    return
                client.sendall(b"N")
                first = client.recv(8)
            self.plain += bool(first)
            self._hand_on(client, first)

    def _hand_on(self, client: Any, first: bytes) -> None:
        if not first:  # it only asked
            return
        with socket.create_connection(self._target) as server:
            server.sendall(first)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(5)


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
