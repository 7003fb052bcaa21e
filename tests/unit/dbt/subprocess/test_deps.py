import io
import tarfile

import pytest

from cht_sync.dbt.subprocess.deps import take_out


def archive(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(b"evil"))
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_a_package_is_taken_out_without_its_links(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    inside.mkdir()
    members = [
        ("p", tarfile.DIRTYPE, ""),
        ("p/a.sql", tarfile.REGTYPE, ""),
        ("p/up", tarfile.SYMTYPE, str(outside)),
        ("p/up/b.sql", tarfile.REGTYPE, ""),
        ("p/hard", tarfile.LNKTYPE, "p/a.sql"),
        ("p/fifo", tarfile.FIFOTYPE, ""),
    ]
    with archive(*members) as file:
        take_out(file, str(inside))
    assert sorted(path.name for path in inside.rglob("*")) == ["a.sql", "b.sql", "p", "up"]
    assert list(outside.iterdir()) == []
    with archive(("../evil", tarfile.REGTYPE, "")) as file, pytest.raises(tarfile.TarError, match="leads out"):
        take_out(file, str(inside))
    assert not (tmp_path / "evil").exists()
