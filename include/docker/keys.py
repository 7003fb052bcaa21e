"""Makes the keys and passwords that the components of one Airflow share, each once, at random.

There is none to choose and none to guess; they live in the volume ``keys``, which only these services mount.
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


if __name__ == "__main__":
    print("Made:", ", ".join(make_keys(Path(sys.argv[1]))) or "nothing, all are there")
