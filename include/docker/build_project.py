"""Installs the dbt project while an image is built; what is secret comes as a secret of the build.

An argument of a build stays in the image's history, and what it sets as a variable in the image itself.
Source: https://docs.docker.com/build/building/secrets/
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

ADDRESS, TOKEN = "CHT_PIPELINE_BRANCH_URL", "CHT_PIPELINE_TOKEN"
SECRETS = Path("/run/secrets")


def refusal(environ: Mapping[str, str]) -> str:
    """Why the arguments of the build cannot be used, as one sentence; empty where they can.

    :param environ: variables, the arguments among them.
    """
    if not _holds_credentials(environ.get(ADDRESS, "")):
        return ""
    return (
        f"{ADDRESS} came as an argument of the build with a user name, token or query in it, and arguments stay in the"
        " image: give the address without, and the token as the build secret cht_pipeline_token (with Compose, in the"
        " file that CHT_PIPELINE_TOKEN_FILE names)."
    )


def with_secrets(environ: MutableMapping[str, str], secrets: Path = SECRETS) -> None:
    """Sets what the secrets of the build hold: the token, or the whole address.

    :param environ: changed in place.
    :param secrets: where they are mounted.
    """
    token, address = secrets / TOKEN.lower(), secrets / ADDRESS.lower()
    if token.is_file() and token.read_text().strip():
        environ[f"{TOKEN}_FILE"] = str(token)
    if address.is_file() and (value := address.read_text().strip()):
        environ[ADDRESS] = value


def _holds_credentials(address: str) -> bool:
    # Of host:path and user@host:path, which are for ssh, nothing is secret.
    scheme, found, rest = address.partition("://")
    if not found or scheme.lower() == "file":
        return False
    try:
        parts = urlsplit(address)
        name, password = parts.username, parts.password
    except ValueError:
        return True
    if scheme.lower() == "ssh":
        return bool(password or parts.query)
    return bool(name or password or parts.query or "@" in rest.partition("/")[0])


def main() -> int:
    """Installs it.

    :return: exit code: 1 where an argument is refused.
    """
    if reason := refusal(os.environ):
        print(reason, file=sys.stderr)
        return 1
    with_secrets(os.environ)
    return subprocess.call([sys.executable, "-m", "cht_sync", "pipeline"])


if __name__ == "__main__":
    sys.exit(main())
