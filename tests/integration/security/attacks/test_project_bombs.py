"""Projects and packages that are small on the wire, and fill memory or disk where they are unpacked."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile

import pytest

from cht_sync.dbt.project import download
from cht_sync.dbt.project.fetch import fetch
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.source import configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import git, write_project
from tests.integration.security.attacks.strangers import Answer, Stranger, largest, measured

pytestmark = [pytest.mark.integration, pytest.mark.slow]
MEGABYTE = 2**20
INSTALL = "install(__import__('cht_sync.settings.settings', fromlist=['Settings']).Settings())"
# Beyond what the imports took: a project of 20 MB is allowed.
MOST_MB = 100
MOST_OF_GIT_MB = 1200


def header(name, size=0, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def tar(pieces):
    """Gzipped piece by piece, so that the test itself needs no memory."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)
    return stream.getvalue()


def zeros(megabytes):
    return (bytes(MEGABYTE) for _ in range(megabytes))


def one_file():
    yield header("p/zeros", 300 * MEGABYTE)
    yield from zeros(300)


def many_members():
    block = b"".join(header(f"p/{number:04}") for number in range(1000))
    return (block for _ in range(400))


def long_header(kind):
    def pieces():
        yield header("x", 300 * MEGABYTE, kind)
        yield from zeros(300)

    return pieces


def many_headers(kind, record):
    def pieces():
        block = header("x", len(record), kind) + record + bytes(-len(record) % 512)
        return (block for _ in range(40_000))

    return pieces


def deep():
    name = ("d/" * 2000 + "f").encode()
    yield header("x", len(name), tarfile.GNUTYPE_LONGNAME) + name + bytes(-len(name) % 512) + header("f")


def sparse():
    yield header("p/big", 0, tarfile.GNUTYPE_SPARSE)
    record = b"30 GNU.sparse.realsize=9999999\n"
    yield header("x", len(record), tarfile.XHDTYPE) + record + bytes(-len(record) % 512) + header("p/f")


BOMBS = {
    "one file": one_file,
    "many members": many_members,
    "a pax header": long_header(tarfile.XHDTYPE),
    "a global pax header": long_header(tarfile.XGLTYPE),
    "a long name": long_header(tarfile.GNUTYPE_LONGNAME),
    "a long link": long_header(tarfile.GNUTYPE_LONGLINK),
    "many global headers": many_headers(tarfile.XGLTYPE, b"30 comment=aaaaaaaaaaaaaaaaaa\n"),
    "many pax headers": many_headers(tarfile.XHDTYPE, b"".join(b"13 k%05d=vv\n" % number for number in range(4000))),
    "deep folders": deep,
    "sparse files": sparse,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_a_tarball_grows_to_is_bounded(tmp_path, kind):
    body = tar(BOMBS[kind]())
    with Stranger(lambda _: Answer(body=body)) as server, largest(tmp_path) as most:
        said, memory, _ = measured(
            INSTALL,
            DBT_PACKAGE_TARBALL_URL=f"{server.url}/p.tar.gz",
            CHT_PIPELINE_DIR=str(tmp_path),
            CHT_PIPELINE_MAX_MB="20",
            CHT_PIPELINE_MAX_FILES="20000",
        )
    assert said.startswith("SettingsError")
    assert any(
        words in said for words in ("CHT_PIPELINE_MAX_", "no sound .tar.gz", "holds no dbt_project.yml", "folders deep")
    )
    assert memory < MOST_MB
    assert most[-1] < 25 * MEGABYTE


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
def test_other_ways_to_pack_are_bounded_too(tmp_path, pack):
    body = pack(b"".join(one_file())[: 120 * MEGABYTE])
    with Stranger(lambda _: Answer(body=body)) as server, largest(tmp_path) as most:
        said, memory, _ = measured(
            INSTALL,
            DBT_PACKAGE_TARBALL_URL=f"{server.url}/p.tar",
            CHT_PIPELINE_DIR=str(tmp_path),
            CHT_PIPELINE_MAX_MB="20",
        )
    assert "CHT_PIPELINE_MAX_MB=20" in said
    assert memory < MOST_MB
    assert most[-1] < 25 * MEGABYTE


def endless():
    while True:
        yield os.urandom(MEGABYTE)


@pytest.mark.parametrize("status", [200, 302, 500])
@pytest.mark.parametrize("packed", [False, True])
def test_a_download_without_end(tmp_path, status, packed):
    body = gzip.compress(b"".join(zeros(400)), 1)
    headers = {"Location": "/p.tar.gz"} | ({"Content-Encoding": "gzip"} if packed else {})
    with Stranger(lambda _: Answer(status, headers, body if packed else endless())) as server:
        said, memory, _ = measured(
            INSTALL,
            DBT_PACKAGE_TARBALL_URL=f"{server.url}/p.tar.gz",
            CHT_PIPELINE_DIR=str(tmp_path),
            CHT_PIPELINE_MAX_MB="20",
        )
    assert {200: "CHT_PIPELINE_MAX_MB=20", 302: "more than 5 redirects", 500: "answers 500"}[status] in said
    assert memory < MOST_MB


def drip():
    while True:
        yield b"x"
        __import__("time").sleep(0.2)


def test_a_download_that_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 1.0)
    with Stranger(lambda _: Answer(body=drip())) as server:
        source = configured_source(Settings({"DBT_PACKAGE_TARBALL_URL": f"{server.url}/p.tar.gz"}))
        with pytest.raises(SettingsError, match="not even 256 KB came in 1 s"):
            fetch(source, tmp_path / "new")


@pytest.fixture
def project(tmp_path):
    folder = write_project(tmp_path / "little")
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def committed(folder):
    git(folder, "add", ".")
    git(folder, "-c", "core.compression=1", "commit", "--quiet", "-m", "one")
    return f"file://{folder}"


def refused(url, folder, **environ):
    with largest(folder) as most:
        said, memory, child = measured(
            INSTALL,
            CHT_PIPELINE_BRANCH_URL=f"{url}#main",
            CHT_PIPELINE_DIR=str(folder),
            CHT_PIPELINE_MAX_MB="20",
            **environ,
        )
    assert "cannot be installed" in said
    assert memory < MOST_MB
    assert child < MOST_OF_GIT_MB
    return said, most[-1]


def test_a_large_file_in_git_is_refused_before_it_is_written(project, tmp_path):
    with (project / "zeros").open("wb") as file:
        for piece in zeros(300):
            file.write(piece)
    url = committed(project)
    (project / "zeros").unlink()
    said, most = refused(url, tmp_path / "pipeline")
    assert "CHT_PIPELINE_MAX_MB=20" in said
    assert most < 25 * MEGABYTE


def test_a_large_repository_is_refused_while_it_is_fetched(project, tmp_path):
    (project / "noise").write_bytes(os.urandom(120 * MEGABYTE))
    url = committed(project)
    (project / "noise").unlink()
    said, most = refused(url, tmp_path / "pipeline")
    assert "CHT_PIPELINE_MAX_MB=20 allows, with what git fetches of its history" in said
    assert most < 60 * MEGABYTE


def test_folders_of_git_that_hold_each_other(project, tmp_path):
    """A few kilobytes that would be ten billion files."""
    tree = git(project, "hash-object", "-w", "dbt_project.yml")
    kind, mode = "blob", "100644"
    for _ in range(10):
        listing = "".join(f"{mode} {kind} {tree}\td{number}\n" for number in range(10))
        (tmp_path / "listing").write_text(listing)
        tree = git(project, "-c", "alias.mk=!git mktree <../listing", "mk")
        kind, mode = "tree", "040000"
    git(project, "update-ref", "refs/heads/main", git(project, "commit-tree", tree, "-m", "bomb"))
    said, most = refused(f"file://{project}", tmp_path / "pipeline")
    assert "CHT_PIPELINE_MAX_FILES=50000" in said
    assert most < 5 * MEGABYTE


def test_a_git_server_whose_answer_never_ends(tmp_path):
    def refs():
        yield b"001e# service=git-upload-pack\n0000"
        number = 0
        while True:
            number += 1
            line = b"%040x refs/heads/%060d\n" % (number, number)
            yield b"".join(b"%04x%s" % (len(line) + 4, line) for _ in range(1000))

    kind = {"Content-Type": "application/x-git-upload-pack-advertisement"}
    with Stranger(lambda _: Answer(200, kind, refs())) as server:
        said, memory, child = measured(
            INSTALL, CHT_PIPELINE_BRANCH_URL=f"{server.url}/p.git#main", CHT_PIPELINE_DIR=str(tmp_path)
        )
    assert "takes git more than 1024 MB of memory" in said
    assert memory < MOST_MB
    assert child < MOST_OF_GIT_MB


def test_a_large_folder_is_refused(project, tmp_path):
    with (project / "holes").open("wb") as file:
        file.truncate(10 * 2**40)
    source = configured_source(Settings({"DBT_LOCAL_PATH": str(project)}))
    with pytest.raises(SettingsError, match="CHT_PIPELINE_MAX_MB=500"):
        fetch(source, tmp_path / "one")
    (project / "holes").unlink()
    (project / "many").mkdir()
    for number in range(200):
        (project / "many" / str(number)).touch()
    source = configured_source(Settings({"DBT_LOCAL_PATH": str(project), "CHT_PIPELINE_MAX_FILES": "100"}))
    with pytest.raises(SettingsError, match="CHT_PIPELINE_MAX_FILES=100"):
        fetch(source, tmp_path / "two")


def hub(body):
    """A package hub that has one package."""

    def answer(asked):
        if asked.path.endswith("index.json"):
            return Answer(body=json.dumps(["evil/bomb"]).encode())
        if asked.path.endswith(".json"):
            url = f"http://{asked.headers['Host']}/p.tar.gz"
            entry = {"name": "bomb", "version": "1.0.0", "packages": [], "downloads": {"tarball": url}}
            return Answer(body=json.dumps({"name": "bomb", "versions": {"1.0.0": entry}}).encode())
        return body()

    return answer


def packages():
    yield header("bomb/", kind=tarfile.DIRTYPE)
    yield header("bomb/zeros", 300 * MEGABYTE)
    yield from zeros(300)


@pytest.mark.parametrize("kind", ["a large file", "a header", "a package list"])
def test_packages_of_the_hub_are_bounded(tmp_path, kind):
    folder = write_project(tmp_path / "little")
    (folder / "packages.yml").write_text('packages:\n  - package: evil/bomb\n    version: "1.0.0"\n')

    def header_of_gigabytes():
        yield header("x", 1500 * MEGABYTE, tarfile.XHDTYPE)
        yield from zeros(1500)

    body = tar(header_of_gigabytes() if kind == "a header" else packages())
    answer = hub(lambda: Answer(body=body))
    if kind == "a package list":
        listing = gzip.compress(b"[" + b"[]," * (60 * MEGABYTE), 1)

        def answer(asked):
            found = Answer(200, {"Content-Encoding": "gzip"}, listing)
            return found if asked.path.endswith("index.json") else Answer(404)

    with Stranger(answer) as server, largest(tmp_path / "pipeline") as most:
        said, memory, child = measured(
            INSTALL,
            DBT_LOCAL_PATH=str(folder),
            DBT_PACKAGE_HUB_URL=f"{server.url}/",
            CHT_PIPELINE_DIR=str(tmp_path / "pipeline"),
            CHT_PIPELINE_MAX_MB="20",
        )
    assert said.startswith("SettingsError")
    assert memory < MOST_MB
    assert child < 1300
    assert most[-1] < 200 * MEGABYTE


def test_a_repository_is_not_taken_for_a_bomb(project, tmp_path):
    (project / "seeds").mkdir()
    (project / "seeds" / "s.csv").write_bytes(b"a\n" * 2 * MEGABYTE)
    source = configured_source(Settings({"CHT_PIPELINE_BRANCH_URL": committed(project), "CHT_PIPELINE_MAX_MB": "5"}))
    assert fetch(source, tmp_path / "new", GitRepository(source).commit())
    assert (tmp_path / "new" / "seeds" / "s.csv").stat().st_size == 4 * MEGABYTE
