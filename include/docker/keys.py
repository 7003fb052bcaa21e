"""Makes the keys and passwords that the components of one Airflow share, each once, at random, and hands them out.

There is none to choose and none to guess. All live in the volume ``keys``, which no component mounts; each component
sees copies of those that it needs, in a folder for each, which Compose mounts from a volume of its own.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

RANDOM: dict[str, Callable[[], str]] = {
    # Source: https://cryptography.io/en/latest/fernet/
    "fernet_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "api_secret_key": lambda: secrets.token_hex(32),
    "jwt_secret": lambda: secrets.token_hex(64),
    "airflow_db_password": lambda: secrets.token_hex(24),
    "redis_password": lambda: secrets.token_hex(24),
    # Read and, where a user is added, written by Airflow's SimpleAuthManager.
    "ui_passwords.json": lambda: json.dumps({"admin": secrets.token_urlsafe(18)}),
}
# By folder: what is handed out together, since who knows one of them knows the others or needs them.
HANDED_OUT: dict[str, tuple[str, ...]] = {
    "database": ("airflow_db_password", "sql_alchemy_conn"),
    "fernet": ("fernet_key",),
    "jwt": ("jwt_secret",),
    "api": ("api_secret_key",),
    "celery": ("celery_broker_url", "celery_result_backend"),
    "redis": ("redis.conf",),
    "ui": ("ui_passwords.json",),
}
# What a component may change: a copy that is there stays.
KEPT = {"ui_passwords.json"}


def make_keys(folder: Path) -> list[str]:
    """Makes what is missing; what is there stays as it is.

    :param folder: where the files are.
    :return: names of the files that were made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = [name for name, make in RANDOM.items() if not (folder / name).exists() and _write(folder / name, make())]
    database = f"airflow:{(folder / 'airflow_db_password').read_text()}@airflow-db:5432/airflow"
    redis = (folder / "redis_password").read_text()
    derived = {
        "sql_alchemy_conn": f"postgresql+psycopg2://{database}",
        "celery_result_backend": f"db+postgresql://{database}",
        "celery_broker_url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f'requirepass {redis}\nsave ""\nappendonly no\n',
    }
    for name, content in derived.items():
        _write(folder / name, content)
    return made


def hand_out(folder: Path, to: Path) -> None:
    """Copies each key into the folder of those who need it.

    :param folder: where all of them are, those of an earlier release too.
    :param to: holds a folder for each part of :data:`HANDED_OUT`.
    """
    for part, names in HANDED_OUT.items():
        (to / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            if name not in KEPT or not (to / part / name).exists():
                _write(to / part / name, (folder / name).read_text())


def _write(file: Path, content: str) -> bool:
    """Whole or not at all, so that a kill leaves no half of a key; readable by the group, which is root's."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.rename(file)
    return True


def main(arguments: list[str]) -> None:
    """Makes the keys, and hands them out where it is said whereto.

    :param arguments: the folder of all keys, and the one that holds the folders of the components.
    """
    folder, *to = map(Path, arguments)
    print("Made:", ", ".join(make_keys(folder)) or "nothing, all are there")
    for each in to:
        hand_out(folder, each)


if __name__ == "__main__":
    main(sys.argv[1:])
