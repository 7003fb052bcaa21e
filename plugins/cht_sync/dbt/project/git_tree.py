"""Writes the files of a commit as they are in git: no filter, hook, submodule or LFS has a part in it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.tree import PIECE, Budget, require_inside

log = logging.getLogger(__name__)
LONGEST_LINK = 4096
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]+) +(\d+|-)\t(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Blob:
    """A file or link of a commit, with its size in bytes and its mode as git has it."""

    path: PurePosixPath
    hash: str
    size: int
    mode: str

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link, whose content is where it leads."""
        return self.mode == "120000"


def listed(source: Source, entries: Iterator[bytes]) -> list[Blob]:
    """The files of a commit, each of them checked before anything is written.

    :param entries: what ``git ls-tree -r -l -z`` prints, one by one.
    :raises SettingsError: if there is too much of them, or one that no project may hold.
    """
    budget, blobs = Budget(source), []
    for entry in entries:
        blobs.append(_blob(source, entry))
        budget.take(blobs[-1].path, blobs[-1].size)
    return blobs


def _blob(source: Source, entry: bytes) -> Blob:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise source.refusal("git lists its files in a way that is not known here")
    mode, kind, name, size, raw = found.groups()
    path = os.fsdecode(raw)
    if kind == b"commit":
        raise source.refusal(
            f"{path!r} is a submodule, another repository, which is not fetched: list it in packages.yml, or put its"
            " files there"
        )
    parts = path.split("/")
    if kind != b"blob" or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise source.refusal(f"{path!r} is no name that a file may have")
    return Blob(PurePosixPath(path), name.decode(), int(size), mode.decode())


def write_files(source: Source, blobs: Sequence[Blob], content: IO[bytes], folder: Path) -> None:
    """Writes files into a new folder, and in the end links, so that nothing is written through one.

    :param content: what ``git cat-file --batch`` prints for them.
    :raises SettingsError: if a link leads out of the folder, or something cannot be written.
    """
    links, pointers = {}, []
    folder.mkdir()
    try:
        for blob in blobs:
            pieces = _content(source, blob, content)
            path = folder / blob.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if blob.is_link:
                links[path] = b"".join(pieces)
            elif _write(path, pieces, 0o755 if blob.mode == "100755" else 0o644).startswith(LFS_POINTER):
                pointers.append(str(blob.path))
        for path, target in links.items():
            path.symlink_to(os.fsdecode(target))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise source.refusal(f"its files cannot be written ({why})") from None
    require_inside(source, folder, folder)
    if pointers:
        log.warning(
            "%s keeps %s in git LFS, from which nothing is fetched: dbt sees a few lines in place of the content.",
            source.text,
            " and ".join(pointers[:3]) + (f" and {len(pointers) - 3} more" if len(pointers) > 3 else ""),
        )


def _content(source: Source, blob: Blob, content: IO[bytes]) -> Iterator[bytes]:
    head = content.readline(200).split()
    if head != [blob.hash.encode(), b"blob", str(blob.size).encode()]:
        raise source.refusal(f"git does not hand out {str(blob.path)!r}")
    if blob.is_link and blob.size > LONGEST_LINK:
        raise source.refusal(f"{str(blob.path)!r} is a link to no name that a file may have")
    rest = blob.size
    while rest:
        piece = content.read(min(PIECE, rest))
        if not piece:
            raise OSError(0, "git ended before it had handed out all files")
        rest -= len(piece)
        yield piece
    content.read(1)  # the end of a line


def _write(path: Path, pieces: Iterator[bytes], mode: int) -> bytes:
    """Writes a file; returns how it begins."""
    begin = b""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        for piece in pieces:
            begin = begin or piece[:100]
            file.write(piece)
    return begin
