"""Brings the files of a dbt project into a new folder."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from cht_sync.errors import SettingsError
from cht_sync.pipeline.content import NOT_COPIED, content_hash
from cht_sync.pipeline.git import GitRepository
from cht_sync.pipeline.scrub import scrub
from cht_sync.pipeline.source import Source

PROJECT_FILE = "dbt_project.yml"
MAX_DOWNLOAD_BYTES = 100 * 2**20
MAX_UNPACKED_BYTES = 500 * 2**20
TIMEOUT_S = (10, 60)


def fetch(source: Source, folder: Path, commit: str = "") -> str:
    """Writes the project into a folder.

    :param source: the project.
    :param folder: where to; it must not exist yet.
    :param commit: for a git repository, what :meth:`GitRepository.commit` gave.
    :returns: what tells this content from another: the commit, or a hash of the files.
    :raises SettingsError: if there is no dbt project to be had.
    """
    if source.kind == "git":
        revision = GitRepository(source).checkout(commit, folder)
    elif source.kind == "tarball":
        _download(source, folder)
        revision = content_hash(folder)
    else:
        require_project(source, Path(source.location))
        shutil.copytree(source.location, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
        revision = content_hash(folder)
    require_project(source, folder)
    return revision


def require_project(source: Source, folder: Path) -> None:
    """Checks that a folder holds a dbt project.

    :param source: what the folder came from, for the message.
    :param folder: the folder.
    :raises SettingsError: if it does not.
    """
    if not folder.is_dir():
        raise SettingsError(f"{source.text} cannot be installed: there is no such folder; look at DBT_LOCAL_PATH.")
    if not (folder / PROJECT_FILE).is_file():
        raise SettingsError(
            f"{source.text} cannot be installed: it holds no {PROJECT_FILE}, so it is not a dbt project."
        )


def tarball_validator(source: Source) -> str:
    """What the server tells of a tarball without sending it; empty where that does not tell one content from another.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-validator-fields

    :param source: the tarball.
    :raises SettingsError: if there is no tarball to be had.
    """
    try:
        # Not HEAD: addresses that are signed for GET refuse it.
        with _get(source) as answer:
            told = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
    except requests.RequestException as error:
        raise _unreachable(source, error) from None
    return "|".join(told) if told[0] or told[1] else ""


@contextmanager
def _get(source: Source) -> Iterator[requests.Response]:
    auth = (source.user, source.password) if source.user or source.password else None
    with requests.get(source.location, auth=auth, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code != requests.codes.ok:
            raise SettingsError(f"{source.text} cannot be downloaded: the server answers {answer.status_code}.")
        yield answer


def _unreachable(source: Source, error: Exception) -> SettingsError:
    reason = scrub(type(error).__name__, source.secrets)
    return SettingsError(f"{source.text} cannot be downloaded: {reason}; is the host reachable?")


def _download(source: Source, folder: Path) -> None:
    with tempfile.TemporaryFile() as file:
        try:
            _stream(source, file)
        except requests.RequestException as error:
            raise _unreachable(source, error) from None
        file.seek(0)
        _unpack(source, file, folder)


def _stream(source: Source, file: object) -> None:
    with _get(source) as answer:
        size = 0
        for block in answer.iter_content(2**16):
            size += len(block)
            if size > MAX_DOWNLOAD_BYTES:
                raise SettingsError(f"{source.text} cannot be installed: it is larger than {MAX_DOWNLOAD_BYTES} bytes.")
            file.write(block)  # type: ignore[attr-defined]


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Takes out one file or folder that stays inside; a dbt package has no need of links or devices.

    By hand, because ``filter="data"`` came with Python 3.11.4 and Debian 12 has 3.11.2.
    Source: https://docs.python.org/3/library/tarfile.html#tarfile.data_filter
    """
    target = (folder / member.name.lstrip("/")).resolve()
    if not target.is_relative_to(folder) or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    if content is None:
        raise tarfile.TarError(member.name)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)


def _unpack(source: Source, file: object, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        try:
            with tarfile.open(fileobj=file, mode="r:*") as archive:  # type: ignore[call-overload]
                size = 0
                for member in archive:
                    size += member.size
                    if size > MAX_UNPACKED_BYTES:
                        raise SettingsError(f"{source.text} cannot be installed: unpacked, it is too large.")
                    _extract(archive, member, Path(unpacked).resolve())
        except (tarfile.TarError, EOFError, OSError) as error:
            raise SettingsError(
                f"{source.text} cannot be installed: it is no sound .tar.gz file ({type(error).__name__})."
            ) from None
        shutil.move(_top(Path(unpacked)), folder)
    # Between two downloads of one tarball only modes may differ; dbt needs to read them all.
    folder.chmod(0o755)


def _top(folder: Path) -> Path:
    """Archives of code hosts hold one folder that holds everything."""
    children = list(folder.iterdir())
    if len(children) == 1 and children[0].is_dir() and not (folder / PROJECT_FILE).exists():
        return children[0]
    inner = folder / "content"
    inner.mkdir()
    for child in children:
        child.rename(inner / child.name)
    return inner
