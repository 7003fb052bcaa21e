"""A server that speaks CouchDB's protocol: pouchdb-server from npm, with its data in LevelDB.

It stands for CouchDB where none can be installed. What it does differently, seen with 4.2.0 on Node.js 24:

- `seq` and `last_seq` are integers, and `since` takes any text: one it cannot use gives an empty page, not an error.
- `_changes` and `GET /db` know no `pending`, no `purge_seq`, no `seq_interval` (every row has its `seq`); `limit=0`
  gives one row; `last_seq` of an empty page is the `since` that was asked for, also one beyond the end.
- The whole page comes on one line, and not before the last row is read.
- `_bulk_get` answers a missing or deleted document with `{"docs": [{}]}`; `_all_docs` with `keys` gives deleted
  rows `"doc": null`; there is no `_purged_infos`, `_purge`, `_up`, `_dbs_info`.
- `instance_start_time` of `GET /db` is when the server started, for every database, also one made again.
- No setting refuses visitors without a password everywhere (`require_valid_user`). A wrong password gives 401;
  no password at all can read a database until its `_security` names members, as `fill` does, and the answer to a
  visitor that creates a database never comes.
- Roles, cookies and design documents work; every write looks up all design documents first, so that many of
  them make it slow. One thread does everything: a second writer gains nothing.
- JSON bodies need the header `Content-Type: application/json`; without it they count as empty.
- Deep documents: its JSON and clone functions recurse, and give up some thousand levels down.
"""

import json
from pathlib import Path
from types import TracebackType

import requests

from include.demo.npm import installed_modules, node
from include.demo.process import GuardedProcess
from include.demo.remembered import HOST, choose_port, remembered_password


class PouchDBServer:
    """A CouchDB-protocol server on 127.0.0.1 whose data, configuration, password and port live in one folder."""

    host = HOST

    def __init__(self, folder: Path, port: int | None = None, user: str = "medic", password: str | None = None) -> None:
        """Describe a server; nothing is written or started yet.

        :param folder: holds data, `config.json`, password (mode 0600), port and logs; made when missing.
        :param port: TCP port; default: the one of the last start, at first any free one.
        :param user: name of the administrator.
        :param password: of the administrator; default: the one of the last start, at first a generated one.
        """
        self.folder = folder.absolute()
        self.port = port or 0
        self.user = user
        self.password = password or ""
        self._wanted_port = port
        self._wanted_password = password
        self._process = GuardedProcess("pouchdb-server", self.folder)

    @property
    def url(self) -> str:
        """Address of the server without credentials and without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, as `requests` takes them."""
        return self.user, self.password

    def start(self) -> "PouchDBServer":
        """Install the server where it is missing, start it and wait until it answers.

        :returns: this server.
        :raises DemoError: folder or port in use, npm failed, or the server does not come up.
        """
        modules = installed_modules()
        self.folder.mkdir(parents=True, exist_ok=True)
        # The server writes the hash of its password, and the documents, readable for everybody.
        self.folder.chmod(0o700)
        self._process.claim()
        try:
            self.password = remembered_password(self.folder, self._wanted_password, changeable=True)
            self.port = choose_port(self.folder, self._wanted_port)
            self._configure()
            self._process.start(self._command(modules))
            self._process.wait_until(self._answers)
        except BaseException:
            self._process.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and wait for it; does nothing when it does not run."""
        self._process.stop()

    def __enter__(self) -> "PouchDBServer":
        """Start the server."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def _command(self, modules: Path) -> list[str]:
        return [
            str(node()),
            # The server leaves refused promises unhandled (e.g. a visitor creates a database), which since
            # Node.js 15 would end it.
            "--unhandled-rejections=warn",
            "--no-deprecation",
            str(modules / "pouchdb-server" / "bin" / "pouchdb-server"),
            "--config",
            str(self.folder / "config.json"),
            "--no-stdout-logs",
        ]

    def _configure(self) -> None:
        """Write the configuration anew: the server replaces the password in it by a hash at each start."""
        settings = {
            "httpd": {"bind_address": self.host, "port": self.port},
            "couchdb": {"database_dir": str(self.folder / "data")},
            "log": {"file": str(self.folder / "couchdb.log"), "level": "warning"},
            "admins": {self.user: self.password},
        }
        file = self.folder / "config.json"
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(json.dumps(settings, indent=2))

    def _answers(self) -> bool:
        try:
            answer = requests.get(f"{self.url}/_session", auth=self.auth, timeout=2)
        except requests.RequestException:
            return False
        return answer.ok and answer.json()["userCtx"]["name"] == self.user
