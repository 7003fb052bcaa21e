"""The part of Superset's REST API that takes dashboards in."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

import requests

from cht_sync.common.http_session import HttpSession, place_of
from cht_sync.common.slow_answers import Watch
from cht_sync.dashboards.settings import Login
from cht_sync.errors import SettingsError, SupersetError
from cht_sync.redaction import without_secrets

# Seconds to connect, and to wait for an answer; Superset looks at each table while it imports.
TIMEOUT = (10.0, 120.0)
# Seconds in which its answer has to come, once it begins.
PATIENCE_S = 300.0
MOST_BYTES = 4 * 2**20
# Of what Superset says about a refusal, at most so much is told.
SAID = 500


class Superset:
    """A session with Superset, as a user of its own database."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._secrets = [login.password]
        self._session = HttpSession()
        # A .netrc of this machine must not take the place of the token.
        self._session.trust_env = False
        self._session.verify = login.ca_bundle or True

    def __enter__(self) -> Superset:
        """Signs in.

        :raises SupersetError: if Superset cannot be reached or does not answer as it should.
        """
        login = self._login
        credentials = {"username": login.user, "password": login.password, "provider": "db", "refresh": False}
        token = self._call("POST", "/api/v1/security/login", json=credentials).get("access_token")
        self._session.headers["Authorization"] = f"Bearer {token}"
        # Superset takes no form without this, from nobody.
        # Source: https://superset.apache.org/docs/security/#csrf-protection
        csrf = self._call("GET", "/api/v1/security/csrf_token/").get("result")
        self._session.headers.update({"X-CSRFToken": str(csrf), "Referer": login.url})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forgets the token."""
        self._session.close()

    def import_assets(self, archive: bytes, passwords: dict[str, str]) -> None:
        """Takes assets in; what is there under the same uuids is overwritten.

        Source: https://superset.apache.org/docs/api/, ``/api/v1/assets/import/``.

        :param passwords: of databases, by their path in the archive.
        :raises SupersetError: if Superset cannot be reached or does not answer as it should.
        """
        self._secrets += passwords.values()
        self._call(
            "POST",
            "/api/v1/assets/import/",
            files={"bundle": ("cht_sync.zip", archive, "application/zip")},
            data={"passwords": json.dumps(passwords)},
        )

    def _call(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        url = self._login.url
        try:
            # A redirect would turn POST into GET, and might lead elsewhere with the password: HttpSession follows none.
            with (
                Watch(PATIENCE_S) as watch,
                self._session.request(method, url + path, timeout=TIMEOUT, stream=True, **what) as answer,
            ):
                body = self._body(answer, watch)
        except requests.exceptions.SSLError:
            raise SettingsError(
                f"Superset at SUPERSET_URL={url!r} does not prove who it is: name the file of its CA in"
                " SUPERSET_CA_BUNDLE, or set SUPERSET_URL to the name in its certificate.",
                "SUPERSET_URL",
            ) from None
        except (requests.RequestException, OSError) as error:
            raise SupersetError(
                f"Superset at SUPERSET_URL={url!r} cannot be reached ({type(error).__name__}): set SUPERSET_URL to its"
                " address, and see that it runs."
            ) from None
        self._refuse(answer, body, path)
        content = _json(body)
        if not isinstance(content, dict):
            raise SupersetError(
                f"What answers at SUPERSET_URL={url!r} is not Superset: set it to the address of Superset itself."
            )
        return content

    def _body(self, answer: requests.Response, watch: Watch) -> bytes:
        body = b""
        for chunk in answer.iter_content(64 * 1024):
            watch.came(len(chunk))
            body += chunk
            if len(body) > MOST_BYTES:
                raise SupersetError(
                    f"What answers at SUPERSET_URL={self._login.url!r} is not Superset: it sent more than"
                    f" {MOST_BYTES // 2**20} MB, which no answer of Superset's to an import has."
                )
        return body

    def _refuse(self, answer: requests.Response, body: bytes, path: str) -> None:
        url, status = self._login.url, answer.status_code
        if status < 300:
            return
        if status < 400:
            raise SettingsError(
                f"SUPERSET_URL={url!r} redirects to another address, {place_of(answer)}, where the password must not"
                " go: set it to the one that Superset answers at.",
                "SUPERSET_URL",
            )
        if status == 401:
            raise SettingsError(
                f"Superset at SUPERSET_URL={url!r} does not know user {self._login.user!r} with this password: set"
                " SUPERSET_USER and SUPERSET_PASSWORD to a user of Superset's own database.",
                "SUPERSET_PASSWORD",
            )
        if status == 403:
            raise SettingsError(
                f"Superset at SUPERSET_URL={url!r} does not let user {self._login.user!r} import dashboards: give that"
                " user the role Admin.",
                "SUPERSET_USER",
            )
        if status == 404:
            raise SettingsError(
                f"SUPERSET_URL={url!r} has no {path}: set it to the address of Superset 4 or newer.", "SUPERSET_URL"
            )
        raise SupersetError(f"Superset at SUPERSET_URL={url!r} did not take {path} (HTTP {status}): {self._said(body)}")

    def _said(self, body: bytes) -> str:
        """Its own words, in one line and without anything secret that they may repeat."""
        content = _json(body)
        errors = (content.get("errors") or content.get("message")) if isinstance(content, dict) else None
        try:
            said = "; ".join(_texts(errors)) or "no reason given"
        except RecursionError:
            said = "no reason given"
        return " ".join(without_secrets(said, self._secrets).split())[:SAID]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _texts(value: Any) -> list[str]:
    """The texts in what Superset says, without the places where they stand."""
    if isinstance(value, dict):
        named = {name: each for name, each in value.items() if name not in {"error_type", "level", "issue_codes"}}
        return [f"{name}: {text}" for name, each in named.items() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [str(value)] if value else []
