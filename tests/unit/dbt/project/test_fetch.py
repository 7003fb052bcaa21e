import io
import tarfile
from dataclasses import replace

import pytest
import requests

from cht_sync.dbt.project.content import content_hash
from cht_sync.dbt.project.fetch import fetch
from cht_sync.dbt.project.source import Source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import ProjectLimits

TARBALL = Source("tarball", "https://h/p.tar.gz", user="me", password="s3cret")


def tarball(*members, link=None, zeros=0):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"name"))
        if zeros:
            info = tarfile.TarInfo("p/zeros")
            info.size = zeros
            archive.addfile(info, io.BytesIO(bytes(zeros)))
        if link:
            info = tarfile.TarInfo("p/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return stream.getvalue()


@pytest.fixture
def serve(monkeypatch):
    def give(body, status=200):
        class Answer:
            status_code = status

            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

            def iter_content(self, _):
                yield body

        monkeypatch.setattr(requests.Session, "get", lambda *_, **__: Answer())

    return give


@pytest.mark.parametrize("members", [("p-1/dbt_project.yml", "p-1/models/a.sql"), ("dbt_project.yml", "models/a.sql")])
def test_a_tarball_with_or_without_a_top_folder(serve, tmp_path, members):
    serve(tarball(*members))
    assert fetch(TARBALL, tmp_path / "project") == content_hash(tmp_path / "project")
    assert (tmp_path / "project" / "models" / "a.sql").read_text() == "name"
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


@pytest.mark.parametrize(
    "body",
    [
        tarball("p/dbt_project.yml", "../evil"),
        tarball("p/dbt_project.yml", link="/etc/passwd"),
        tarball("p/dbt_project.yml", link="../../x"),
        tarball("p/dbt_project.yml")[:40],
        b"<html>not found</html>",
    ],
    ids=["path outside", "absolute link", "link outside", "cut", "no archive"],
)
def test_unsound_tarballs_leave_nothing(serve, tmp_path, body):
    (tmp_path / "in").mkdir()
    serve(body)
    with pytest.raises(SettingsError, match=r"no sound \.tar\.gz"):
        fetch(TARBALL, tmp_path / "in" / "project")
    assert list((tmp_path / "in").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_absolute_path_ends_inside(serve, tmp_path):
    serve(tarball("p/dbt_project.yml", "/etc/cht-sync-evil"))
    with pytest.raises(SettingsError, match=r"no dbt_project\.yml"):
        fetch(TARBALL, tmp_path / "project")
    assert (tmp_path / "project" / "etc" / "cht-sync-evil").is_file()


def test_size_is_bounded(serve, tmp_path):
    body = tarball("p/dbt_project.yml", "p/a")
    serve(body)
    for limits, message in [
        (ProjectLimits(most_bytes=len(body) - 1), "it is larger than CHT_PIPELINE_MAX_MB=0 allows"),
        (ProjectLimits(most_files=3), "more files and folders than CHT_PIPELINE_MAX_FILES=3 allows"),
    ]:
        with pytest.raises(SettingsError, match=message):
            fetch(replace(TARBALL, limits=limits), tmp_path / "project")
    fetch(replace(TARBALL, limits=ProjectLimits(len(body), 4)), tmp_path / "project")
    serve(tarball("p/dbt_project.yml", zeros=5000))
    with pytest.raises(SettingsError, match="it is larger than CHT_PIPELINE_MAX_MB=0 allows"):
        fetch(replace(TARBALL, limits=ProjectLimits(most_bytes=4999)), tmp_path / "other")


def test_a_server_that_refuses_or_is_away(serve, tmp_path, monkeypatch):
    serve(b"", 404)
    with pytest.raises(SettingsError, match="answers 404"):
        fetch(TARBALL, tmp_path / "project")

    def away(*_, **__):
        raise requests.ConnectionError("https://me:s3cret@h")

    monkeypatch.setattr(requests.Session, "get", away)
    with pytest.raises(SettingsError, match="ConnectionError") as refused:
        fetch(TARBALL, tmp_path / "project")
    assert "s3cret" not in str(refused.value)


def test_a_folder_is_copied_without_what_dbt_and_git_write(tmp_path):
    origin = tmp_path / "origin"
    for name in (
        "dbt_project.yml",
        "models/a.sql",
        "target/manifest.json",
        ".git/config",
        "logs/dbt.log",
        "dbt_packages/x/y",
    ):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(name)
    before = content_hash(origin)
    assert fetch(Source("folder", str(origin)), tmp_path / "project") == before
    copied = {
        str(path.relative_to(tmp_path / "project")) for path in (tmp_path / "project").rglob("*") if path.is_file()
    }
    assert copied == {"dbt_project.yml", "models/a.sql"}
    (origin / "target" / "manifest.json").write_text("other")
    assert content_hash(origin) == before
    (origin / "models" / "a.sql").write_text("other")
    assert content_hash(origin) != before


def test_no_project(tmp_path):
    with pytest.raises(SettingsError, match="no such folder"):
        fetch(Source("folder", str(tmp_path / "nope")), tmp_path / "project")
    with pytest.raises(SettingsError, match=r"no dbt_project\.yml"):
        fetch(Source("folder", str(tmp_path)), tmp_path / "project")
