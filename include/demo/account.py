"""The unprivileged account PostgreSQL runs as when this process is root, and what that account can reach."""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from include.demo.errors import DemoError

# Survives a reboot, unlike /tmp, and every account may pass through it.
OUTSIDE = Path("/var/tmp")  # noqa: S108 - what is found there is checked for its owner
NAMES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An operating system account by its numbers."""

    uid: int
    gid: int

    @classmethod
    def needed(cls) -> "Account | None":
        """Return the account to drop to, or None when this process is not root.

        :raises DemoError: there is no account to drop to.
        """
        if os.geteuid() != 0:
            return None
        for name in NAMES:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise DemoError(
            f"PostgreSQL does not run as root and none of the accounts {', '.join(NAMES)} exists: "
            "create one (useradd --system postgres) or start as an ordinary user."
        )

    def can_pass(self, folder: Path) -> bool:
        """Whether the account may go through every folder down to this one."""
        return all(self._may(part, stat.S_IXUSR) for part in (folder, *folder.parents))

    def can_run(self, program: Path) -> bool:
        """Whether the account may go to the program, read it and run it."""
        return self.can_pass(program.parent) and self._may(program, stat.S_IRUSR | stat.S_IXUSR)

    def _may(self, path: Path, wanted: int) -> bool:
        found = path.stat()
        shift = 0 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 6
        return (found.st_mode << shift) & wanted == wanted

    def own_folder(self, wanted: Path) -> Path:
        """Make a folder of mode 0700 that belongs to the account, and return where it is.

        :param wanted: where it should be; where the account cannot go there, it is made below /var/tmp instead,
            under a name that is the same for the same wanted folder.
        """
        place = wanted
        if not self.can_pass(wanted.parent):
            place = OUTSIDE / f"cht-demo-{hashlib.sha256(str(wanted).encode()).hexdigest()[:16]}"
        place.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(place.lstat().st_mode) or place.lstat().st_uid not in (0, self.uid):
            raise DemoError(f"{place} belongs to somebody else: remove it.")
        os.chown(place, self.uid, self.gid)
        return place


def readable_copy(sources: list[Path], label: str) -> Path:
    """Copy folders to a place below /var/tmp that every account can read, once per label.

    :param sources: the folders; each keeps its name in the copy.
    :param label: goes into the name of the copy; must change when the content does.
    :returns: the folder that holds the copies.
    :raises DemoError: the place exists and somebody else could have written it.
    """
    place = OUTSIDE / f"cht-demo-{label}"
    if not place.exists():
        fresh = Path(tempfile.mkdtemp(dir=OUTSIDE, prefix="cht-demo-"))
        for source in sources:
            shutil.copytree(source, fresh / source.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            fresh.rename(place)
        except OSError:  # Another process was quicker; its copy is as good.
            shutil.rmtree(fresh)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise DemoError(f"{place} belongs to somebody else: remove it.")
    return place
