"""One HTTP request to CouchDB, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import requests
from airflow.sdk import Connection
from requests import exceptions
from requests.auth import HTTPBasicAuth

from cht_sync.common.http_session import HttpSession
from cht_sync.common.slow_answers import FEWEST_BYTES, Watch
from cht_sync.couchdb.refusals import refused
from cht_sync.errors import BrokenAnswerError, CouchDBError, NoJSONError, SettingsError, UnreadableAnswerError

CHUNK = 256 * 1024
# An answer that says something of a server, a database or a session.
SMALL = 2**20
# CouchDB takes no larger document: its max_http_request_size.
# Source: https://docs.couchdb.org/en/stable/config/http.html#chttpd/max_http_request_size
LARGEST_DOCUMENT = 4 * 2**30
# Bytes that tell a page of HTML from JSON.
FEW = 200
# Read time-outs in which 256 KB of an answer have to come.
PATIENCE_WITH_DRIPS = 2
_UNUSABLE = (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema, exceptions.InvalidHeader)
_BROKEN = (exceptions.ReadTimeout, exceptions.ChunkedEncodingError, exceptions.ContentDecodingError)


class PageTooLargeError(Exception):
    """An answer is larger than may be read into memory: whoever asked may ask for less."""

    def __init__(self, most: int, sentence: str = "") -> None:
        super().__init__(sentence or f"more than {most} bytes")
        self.most = most


class AnswerTooLargeError(UnreadableAnswerError):
    """An answer is larger than it ever is where all is well."""


class _CookieAuth(requests.auth.AuthBase):
    """Signs in through ``_session`` and sends the cookie, again when it has expired.

    Source: https://docs.couchdb.org/en/stable/api/server/authn.html#cookie-authentication
    """

    def __init__(self, session: requests.Session, url: str, user: str, password: str) -> None:
        self._session, self._url = session, f"{url}/_session"
        self._form = {"name": user, "password": password}

    def sign_in(self, timeouts: tuple[float, float]) -> requests.Response:
        verify = self._session.verify
        return self._session.post(
            self._url, data=self._form, timeout=timeouts, stream=True, auth=lambda request: request, verify=verify
        )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def new_session(url: str, connection: Connection, cookie: bool) -> requests.Session:
    """A session with credentials, certificates and pool.

    :param connection: its ``login``, ``password`` and extra ``verify``, ``cert`` and ``key`` are used.
    """
    session = HttpSession(connections=4)
    session.headers["Accept"] = "application/json"
    extra = connection.extra_dejson
    session.verify = _verify(extra.get("verify", True))
    if extra.get("cert"):
        session.cert = (extra["cert"], extra["key"]) if extra.get("key") else extra["cert"]
    if connection.login:
        user, password = connection.login, connection.password or ""
        # Bytes, because requests would encode text as latin-1 and CouchDB reads UTF-8.
        basic = HTTPBasicAuth(user.encode(), password.encode())
        session.auth = _CookieAuth(session, url, user, password) if cookie else basic
    return session


def _verify(value: Any) -> bool | str:
    """A path, or a boolean however the Airflow form wrote it."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return value


@dataclass(slots=True)
class Request:
    """One request, which can be sent more than once.

    :param timeouts: seconds to connect, and between two pieces of the answer.
    :param most_bytes: size of the body from which on whoever asks may ask for less; by default there is no less.
    :param bound: size of the body from which on it is not read any further, by whatever way.
    :param reader: takes the body in its stead, piece by piece; it need not take all of it.
    :param patience: seconds in which 256 KB of an answer have to come, or its end; by default twice a time-out.
    :param is_markup: whether an answer may begin as a page of HTML does, because XML is asked for.
    """

    session: requests.Session
    method: str
    url: str
    subject: str
    conn_id: str
    timeouts: tuple[float, float]
    most_bytes: int | None = None
    bound: int = SMALL
    sink: IO[bytes] | None = None
    reader: Callable[[Iterator[bytes]], bytes | bytearray] | None = None
    patience: float | None = None
    is_markup: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def send(self) -> bytes | bytearray:
        """Sends it once and reads the answer.

        :return: the body of an answer 200, empty where a sink took it.
        :raises SettingsError: if no further try can help.
        :raises CouchDBError: if another try may help; as BrokenAnswerError if asking for less may.
        :raises PageTooLargeError: if the body is larger than ``most_bytes``.
        :raises AnswerTooLargeError: if it is larger than ``bound``.
        """
        with Watch(self.patience or PATIENCE_WITH_DRIPS * self.timeouts[1]) as watch:
            try:
                return self._send(watch)
            except Exception:
                if not watch.expired:
                    raise
                slow = f"not even {FEWEST_BYTES // 1024} KB in {watch.seconds:g} s"
                raise BrokenAnswerError(f"{self._server} did not finish its answer ({slow}).") from None

    def _send(self, watch: Watch) -> bytes | bytearray:
        try:
            with self._respond() as response:
                if response.status_code in {401, 403} and isinstance(self.session.auth, _CookieAuth):
                    return self._send_signed_in(self.session.auth, watch)
                return self._read(response, watch)
        except exceptions.SSLError as error:
            raise self._tls_failure(error) from None
        except _UNUSABLE as error:
            raise SettingsError(
                f"{self._server} cannot be asked ({_cause(error)}): check connection {self.conn_id!r}."
            ) from None
        except (exceptions.RequestException, ConnectionError, TimeoutError) as error:
            raise self._interrupted(error) from None
        except OSError as error:  # from requests itself, where a certificate's path does not exist
            raise SettingsError(
                f"{error}: correct the extra of connection {self.conn_id!r}, COUCHDB_CA_BUNDLE or"
                " COUCHDB_CLIENT_CERT and _KEY."
            ) from None

    def _interrupted(self, error: Exception) -> CouchDBError:
        cause = _cause(error)
        if isinstance(error, _BROKEN) or "Read timed out" in cause:
            # A server that does not know TLS may wait for more, in place of refusing it.
            tls = f": if it does not speak TLS, set COUCHDB_SECURE=false, or schema http in connection {self.conn_id!r}"
            advice = tls if "handshake" in cause else ""
            return BrokenAnswerError(f"{self._server} did not finish its answer ({cause}){advice}.")
        return CouchDBError(
            f"{self._server} could not be reached (connection failed: {cause}): check COUCHDB_HOST and"
            f" COUCHDB_PORT, or connection {self.conn_id!r}, and that the server is up."
        )

    def _tls_failure(self, error: exceptions.SSLError) -> Exception:
        cause = _cause(error)
        if "CERTIFICATE_VERIFY_FAILED" in cause:
            return SettingsError(
                f"The certificate of {self._server} is not trusted ({cause}): name its CA bundle as 'verify' in"
                f" the extra of connection {self.conn_id!r}, or in COUCHDB_CA_BUNDLE."
            )
        if "WRONG_VERSION_NUMBER" in cause or "RECORD_LAYER_FAILURE" in cause:
            return SettingsError(
                f"{self._server} does not speak TLS ({cause}): set COUCHDB_SECURE=false, or schema http in"
                f" connection {self.conn_id!r}; the password is sent as plain text then."
            )
        return CouchDBError(f"TLS with {self._server} failed ({cause}).")

    def _too_large(self, most: int) -> str:
        larger = " where it is right, raise CHT_SYNC_MAX_MB;" if SMALL < most < LARGEST_DOCUMENT else ""
        return (
            f"{self._server} answered with more than {most // 2**20} MB in place of {self.subject}:{larger} look at the"
            f" server and at what is between, or correct COUCHDB_HOST and COUCHDB_PORT, or connection {self.conn_id!r}."
        )

    @property
    def _server(self) -> str:
        return f"CouchDB at {'/'.join(self.url.split('/')[:3])}"

    def _respond(self) -> requests.Response:
        return self.session.request(
            self.method,
            self.url,
            timeout=self.timeouts,
            stream=True,
            # Said again, because REQUESTS_CA_BUNDLE would win over what a session says.
            verify=self.session.verify,
            **self.options,
        )

    def _send_signed_in(self, auth: _CookieAuth, watch: Watch) -> bytes | bytearray:
        with auth.sign_in(self.timeouts) as signed_in:
            if signed_in.status_code != 200:
                return self._read(signed_in, watch)
            # To its end, so that the connection can be used again.
            for _ in self._chunks(signed_in, watch, SMALL):
                pass
        with self._respond() as response:
            return self._read(response, watch)

    def _read(self, response: requests.Response, watch: Watch) -> bytes | bytearray:
        if response.status_code not in {200, 201, 202}:
            raise refused(response, self._server, self.subject, self.conn_id)
        return (self.reader or self._body)(self._chunks(response, watch, self.bound))

    def _chunks(self, response: requests.Response, watch: Watch, bound: int) -> Iterator[bytes]:
        begun, size = False, 0
        # Unpacked, where it came compressed: a megabyte may become a thousand.
        for chunk in response.iter_content(CHUNK):
            watch.came(len(chunk))
            size += len(chunk)
            if self.most_bytes is not None and size > self.most_bytes:
                raise PageTooLargeError(self.most_bytes, self._too_large(self.most_bytes))
            if size > bound:
                raise AnswerTooLargeError(self._too_large(bound))
            if not begun and (begin := chunk[:FEW].lstrip()):
                begun = True
                if begin.startswith(b"<") and not self.is_markup:
                    raise NoJSONError(
                        f"{self._server} did not answer as CouchDB does, but with a page of HTML in place of"
                        f" {self.subject}, as proxies have it: look at what is between, or correct COUCHDB_HOST and"
                        " COUCHDB_PORT."
                    )
            yield chunk

    def _body(self, chunks: Iterator[bytes]) -> bytes | bytearray:
        if self.sink is not None:
            self.sink.seek(0)
            self.sink.truncate()
            for chunk in chunks:
                self.sink.write(chunk)
            return b""
        body = bytearray()
        try:
            for chunk in chunks:
                body += chunk
        except Exception:
            # Its traceback leads here: what came so far would stay in memory for as long as the error does.
            body.clear()
            raise
        return body


def _cause(error: BaseException) -> str:
    """The innermost reason, which is what a person can act on; never the request with its headers."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) and isinstance(
        inner, BaseException
    ):
        error = inner
    return f"{type(error).__name__}: {error}"[:300]
