"""A CouchDB of few words: answers each request with the next line of a script, over a real socket."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    status: int = 200
    body: bytes = b'{"results":[],"last_seq":"1-a","pending":0}'
    headers: dict[str, str] = field(default_factory=dict)
    #: send so many bytes of the body, then drop the connection; -1 drops it before the status line
    cut: int | None = None
    delay: float = 0.0
    #: seconds before each byte of the body
    drip: float = 0.0


class ScriptedServer:
    """Keeps the requests it saw; the last answer of the script is repeated."""

    def __init__(self) -> None:
        self.script: list[Answer] = [Answer()]
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        # A client that stops reading is part of the play.
        self._server.handle_error = lambda request, address: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ScriptedServer

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        owner = self.owner
        owner.bodies.append(self.rfile.read(length))
        owner.requests.append((self.command, self.path, dict(self.headers)))
        answer = owner.script.pop(0) if len(owner.script) > 1 else owner.script[0]
        threading.Event().wait(answer.delay)
        if answer.cut == -1:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        step = 1 if answer.drip else len(body) or 1
        for start in range(0, len(body), step):
            threading.Event().wait(answer.drip)
            self.wfile.write(body[start : start + step])
        self.close_connection = answer.cut is not None

    do_GET = do_POST = answer

    def log_message(self, *args: object) -> None:
        pass
