"""Walks the files of a dbt project as those of a stranger: without following a link, and only so many of them."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from cht_sync.dbt.project.source import Source

MAX_DEPTH = 100
PIECE = 2**20
_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file, a folder or a link below a folder, with its path from there.

    :param found: what the file system says of it, of a link itself.
    :param folder: descriptor of the folder that holds it, which is open until the next member is asked for.
    """

    path: str
    name: str
    found: os.stat_result
    folder: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.found.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.found.st_mode)

    @property
    def target(self) -> str:
        """Where a link leads, as it says itself."""
        return os.readlink(self.name, dir_fd=self.folder)


class Tree:
    """The files of one project, whose limits count.

    :param left_out: names that count for nothing, wherever they are.
    """

    def __init__(self, source: Source, left_out: Collection[str] = ()) -> None:
        self._source, self._left_out = source, left_out
        self._number = self._bytes = 0

    def members(self, folder: Path) -> Iterator[Member]:
        """All that is below a folder: of each folder first its files and links, in the order of their names.

        :raises SettingsError: if there is too much, too deep, unreadable, or neither file, folder nor link.
        """
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield from self._within(descriptor, "", 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            name = os.fsdecode(error.filename) if error.filename else str(folder)
            raise self._source.refusal(f"{name!r} cannot be read ({error.strerror})") from None

    def _within(self, descriptor: int, parent: str, depth: int) -> Iterator[Member]:
        if depth > MAX_DEPTH:
            raise self._source.refusal(f"{parent!r} is more than {MAX_DEPTH} folders deep")
        folders = []
        for name in self._names(descriptor):
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # an editor's, gone by now
            member = Member(parent + name, name, found, descriptor)
            self._count(member)
            if member.is_folder:
                folders.append(member)
            else:
                yield member
        for member in folders:
            yield member
            # What was a folder a moment ago may be a link by now.
            inner = os.open(member.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            try:
                yield from self._within(inner, f"{member.path}/", depth + 1)
            finally:
                os.close(inner)

    def _names(self, descriptor: int) -> list[str]:
        names = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name not in self._left_out:
                    names.append(entry.name)
                    self._number += 1
                    if self._number > self._source.limits.most_files:
                        raise self._source.refusal(self._source.limits.too_many)
        return sorted(names)

    def _count(self, member: Member) -> None:
        kind = stat.S_IFMT(member.found.st_mode)
        if kind in _KINDS:
            raise self._source.refusal(
                f"{member.path!r} is {_KINDS[kind]}, where dbt has use of files and folders only"
            )
        if kind == stat.S_IFREG:
            self._bytes += member.found.st_size
        if self._bytes > self._source.limits.most_bytes:
            raise self._source.refusal(self._source.limits.too_large)

    def content(self, member: Member) -> Iterator[bytes]:
        """The bytes of a file, piece by piece; a SettingsError if it became something else, or too large, meanwhile."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(member.name, flags, dir_fd=member.folder), "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise self._source.refusal(f"{member.path!r} changed while it was read")
            more = -member.found.st_size
            while piece := file.read(PIECE):
                more += len(piece)
                if self._bytes + more > self._source.limits.most_bytes:
                    raise self._source.refusal(self._source.limits.too_large)
                yield piece


class Budget:
    """Counts what is about to be written, with each folder that it takes."""

    def __init__(self, source: Source) -> None:
        self._source, self._limits = source, source.limits
        self._folders: set[PurePath] = set()
        self._number = self._bytes = 0

    def take(self, path: PurePath, size: int = 0) -> None:
        """Counts a file or folder of so many bytes; a SettingsError if that is too much, or too deep."""
        if len(path.parts) > MAX_DEPTH:
            raise self._source.refusal(f"{str(path)[:100]!r}... is more than {MAX_DEPTH} folders deep")
        self._number += 1
        self._bytes += size
        for folder in path.parents:
            if folder in self._folders:
                break
            self._folders.add(folder)
            self._number += 1
        if self._number > self._limits.most_files:
            raise self._source.refusal(self._limits.too_many)
        if self._bytes > self._limits.most_bytes:
            raise self._source.refusal(self._limits.too_large)


def copy_tree(source: Source, origin: Path, folder: Path, left_out: Collection[str]) -> None:
    """Copies a project into a new folder; links within it stay links.

    :raises SettingsError: if a link leads out of it, or :class:`Tree` refuses something.
    """
    tree, names = Tree(source, left_out), _Names()
    folder.mkdir()
    try:
        for member in tree.members(origin):
            target = folder / member.path
            if member.is_folder:
                target.mkdir()
            elif member.is_link:
                target.symlink_to(member.target)
            else:
                names.saw(member)
                with target.open("xb") as file:
                    for piece in tree.content(member):
                        file.write(piece)
                target.chmod(stat.S_IMODE(member.found.st_mode) & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise source.refusal(f"it cannot be copied ({error.strerror})") from None
    if source.kind != "starter":  # installed with this project, by whatever means
        names.require_all_seen(source)
    require_inside(source, folder, folder)


def require_inside(source: Source, folder: Path, root: Path) -> None:
    """Checks that no link below a folder leads out of a root that holds it.

    :raises SettingsError: with the link's name, if one does; or if :class:`Tree` refuses something.
    """
    names, inside = _Names(), root.resolve()
    for member in Tree(source).members(folder):
        if not member.is_link:
            names.saw(member)
        # All the way, through links to links.
        elif not Path(os.path.realpath(folder / member.path)).is_relative_to(inside):
            raise source.refusal(
                f"{member.path!r} is a link to {member.target!r}, which is not in the project: put the file or folder"
                " itself there"
            )
    names.require_all_seen(source)


class _Names:
    """The names of files that have several: each may be in the project only."""

    def __init__(self) -> None:
        self._seen: defaultdict[tuple[int, int], list[Member]] = defaultdict(list)

    def saw(self, member: Member) -> None:
        if member.found.st_nlink > 1 and not member.is_folder:
            self._seen[member.found.st_dev, member.found.st_ino].append(member)

    def require_all_seen(self, source: Source) -> None:
        for members in self._seen.values():
            if members[-1].found.st_nlink > len(members):
                raise source.refusal(
                    f"{members[-1].path!r} is a hard link, with a name that is not in the project: put a copy of the"
                    " file there"
                )
