"""Downloads and unpacks tarballs of strangers: however small they are, what they grow to has bounds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cht_sync.dbt.project.download import MOST_S, opened
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.tree import PIECE, Budget

BLOCK = tarfile.BLOCKSIZE
# A name, and what else the headers that go before a file say of it; real ones have some hundred bytes.
MOST_HEADER = 64 * 1024
# Of a file: its own, a long name, what else there is to say.
HEADERS_OF_ONE = 4
# xz files name the memory that they need.
MOST_XZ_MEMORY = 128 * 2**20
_FILES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}


def validator(source: Source) -> str:
    """What the server tells of a tarball without sending it; empty where that does not tell one content from another.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-validator-fields
    """
    # Not HEAD: addresses that are signed for GET refuse it.
    with opened(source, source.location) as (answer, _):
        _require_ok(source, answer.status_code)
        told = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
    return "|".join(told) if told[0] or told[1] else ""


def download(source: Source, folder: Path, project_file: str) -> None:
    """Writes the files of a tarball into a new folder.

    :param project_file: what tells the top folder of a project, where the tarball has one.
    :raises SettingsError: if there is no tarball to be had, or it is unsound or too large.
    """
    with tempfile.TemporaryFile() as file:
        _stream(source, file)
        file.seek(0)
        _unpack(source, file, folder, project_file)


def _require_ok(source: Source, status: int) -> None:
    if status != 200:
        raise source.refusal(f"the server answers {status}", "downloaded")


def _stream(source: Source, file: IO[bytes]) -> None:
    until, size = time.monotonic() + MOST_S, 0
    with opened(source, source.location) as (answer, watch):
        _require_ok(source, answer.status_code)
        for block in answer.iter_content(2**16):
            watch.came(len(block))
            size += len(block)
            if size > source.limits.most_bytes:
                raise source.refusal(source.limits.too_large)
            if time.monotonic() > until:
                raise source.refusal(f"it takes more than {MOST_S:g} s", "downloaded")
            file.write(block)


def _unpack(source: Source, file: IO[bytes], folder: Path, project_file: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        try:
            _Archive(source, _decompressed(source, file)).extract(Path(unpacked))
        except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise source.refusal(f"it is no sound .tar.gz file ({type(error).__name__})") from None
        shutil.move(_top(Path(unpacked), project_file), folder)
    # Between two downloads of one tarball only modes may differ; dbt needs to read them all.
    folder.chmod(0o755)


def _top(folder: Path, project_file: str) -> Path:
    """Archives of code hosts hold one folder that holds everything."""
    children = list(folder.iterdir())
    if len(children) == 1 and children[0].is_dir() and not (folder / project_file).exists():
        return children[0]
    inner = folder / "content"
    inner.mkdir()
    for child in children:
        child.rename(inner / child.name)
    return inner


def _decompressed(source: Source, file: IO[bytes]) -> IO[bytes]:
    begin = file.read(6)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if begin.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return _xz(source, file) if begin.startswith(b"\xfd7zXZ\0") else file


def _xz(source: Source, file: IO[bytes]) -> IO[bytes]:
    """Through a file: the one of the standard library that unpacks piece by piece takes any memory."""
    whole = tempfile.TemporaryFile()  # noqa: SIM115 - it is what is returned
    unpacker = lzma.LZMADecompressor(memlimit=MOST_XZ_MEMORY)
    while not unpacker.eof:
        block = file.read(PIECE) if unpacker.needs_input else b""
        if not block and unpacker.needs_input:
            raise EOFError
        whole.write(unpacker.decompress(block, PIECE))
        # Headers and the rest of blocks count too, a little.
        if whole.tell() > 2 * source.limits.most_bytes:
            raise source.refusal(f"unpacked, {source.limits.too_large}")
    whole.seek(0)
    return whole


class _Archive:
    """Reads an unpacked tar file from its begin to its end, of which it keeps nothing in memory but a header.

    By hand: :mod:`tarfile` takes headers of any size and keeps each, so that half a megabyte can fill gigabytes.
    Source: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html,
    https://www.gnu.org/software/tar/manual/html_node/Standard.html
    """

    def __init__(self, source: Source, file: IO[bytes]) -> None:
        self._source, self._file, self._budget = source, file, Budget(source)
        self._read_bytes = self._headers = 0

    def extract(self, folder: Path) -> None:
        """Takes out files and folders into an empty folder; a dbt package has no need of links or devices."""
        root = folder.resolve()
        for info in self._members():
            target = (root / info.name.lstrip("/")).resolve()
            if not target.is_relative_to(root) or not (info.isdir() or info.type in _FILES):
                raise tarfile.TarError(info.name)
            self._budget.take(target.relative_to(root), 0 if info.isdir() else info.size)
            if info.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for piece in self._pieces(info.size):
                    out.write(piece)

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """Files, folders and whatever else; names that are too long for a header come before it."""
        name, size = None, None
        while block := self._block():
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
                if not 0 <= info.size <= MOST_HEADER:
                    raise tarfile.HeaderError("header too large")
                text = b"".join(self._pieces(info.size))
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    name = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
                elif info.type == tarfile.XHDTYPE:
                    name, size = _pax(text, name, size)
                continue
            info.name, info.size = name or info.name, info.size if size is None else size
            if info.size < 0:
                raise tarfile.TarError(info.name)
            name = size = None
            yield info

    def _block(self) -> bytes:
        """The next header; empty at the end."""
        block = self._file.read(BLOCK)
        if not block or block.count(0) == BLOCK:
            return b""
        self._headers += 1
        if self._headers > HEADERS_OF_ONE * self._source.limits.most_files:
            raise self._source.refusal(self._source.limits.too_many)
        return block

    def _pieces(self, size: int) -> Iterator[bytes]:
        """The content that follows a header; what fills its last block is passed over."""
        rest = size
        while rest:
            piece = self._read(min(PIECE, rest))
            rest -= len(piece)
            yield piece
        if size % BLOCK:
            self._read(BLOCK - size % BLOCK)

    def _read(self, size: int) -> bytes:
        self._read_bytes += size
        # What fills blocks, and headers that are passed over, are no content but take their time.
        limits = self._source.limits
        if self._read_bytes > 2 * limits.most_bytes + BLOCK * limits.most_files:
            raise self._source.refusal(f"unpacked, {limits.too_large}")
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _pax(text: bytes, name: str | None, size: int | None) -> tuple[str | None, int | None]:
    """Name and size as the records of a pax header have them; sparse files, which say so there, are none of ours."""
    while text.strip(b"\0"):
        length, _, _ = text.partition(b" ")
        # One digit more than the size of any header.
        if not length.isdigit() or not 0 < int(length[:7]) <= len(text):
            raise tarfile.HeaderError("no pax header")
        record, text = text[: int(length)], text[int(length) :]
        key, _, value = record[len(length) + 1 : -1].partition(b"=")
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif key == b"size" and value.isdigit():
            size = int(value[:20])
        elif key.startswith(b"GNU.sparse."):
            raise tarfile.TarError("sparse file")
    return name, size
