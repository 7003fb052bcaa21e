"""A server that leads whoever asks it to another one, to get hold of what was meant for the first."""

import base64
import http.client
import io
import tarfile

import pytest

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.project.fetch import fetch
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.hub import hub_answers
from cht_sync.dbt.project.source import configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import git, write_project
from tests.integration.dbt.git_server import GitServer
from tests.integration.security.attacks.strangers import Answer, Stranger

pytestmark = pytest.mark.integration
TOKEN = "ghp_c4nary-token"
FORMS = [TOKEN, base64.b64encode(f"{TOKEN}:".encode()).decode(), base64.b64encode(f"me:{TOKEN}".encode()).decode()]
UNAUTHORIZED = Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})


@pytest.fixture
def thief():
    with Stranger(lambda _: UNAUTHORIZED, "localhost") as server:
        yield server


def leads_to(url, status=302, after_login=False):
    def answer(asked):
        if after_login and "Authorization" not in asked.headers:
            return UNAUTHORIZED
        return Answer(status, {"Location": url + asked.path})

    return answer


def forward(host):
    def answer(asked):
        connection = http.client.HTTPConnection(host)
        headers = {name: value for name, value in asked.headers.items() if name not in {"Host", "Connection"}}
        connection.request(asked.method, asked.path, asked.body, headers)
        found = connection.getresponse()
        kept = {name: found.headers[name] for name in ("Content-Type", "WWW-Authenticate") if name in found.headers}
        return Answer(found.status, kept, found.read())

    return answer


@pytest.fixture
def project(tmp_path):
    folder = write_project(tmp_path / "little")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return folder


def source(**environ):
    return configured_source(Settings(environ))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("user", ["", "me:"])
def test_git_sends_no_token_to_where_a_server_leads(thief, status, user):
    with Stranger(leads_to(thief.url, status)) as server:
        named = source(CHT_PIPELINE_BRANCH_URL=f"http://{user}{TOKEN}@{server.address}/o/p.git#main")
        with pytest.raises(SettingsError) as refused:
            GitRepository(named).commit()
        assert server.saw(*FORMS)
    assert thief.asked == []
    assert f"{server.url} leads to {thief.url} by a redirect" in str(refused.value)
    assert "CHT_PIPELINE_BRANCH_URL" in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_git_is_not_led_away_when_it_asks_for_files(thief, project, tmp_path):
    with GitServer(project.parent, TOKEN, "") as behind:
        good = forward(behind.host)

        def answer(asked):
            return good(asked) if asked.method == "GET" else Answer(307, {"Location": thief.url + asked.path})

        with Stranger(answer) as server:
            named = source(CHT_PIPELINE_BRANCH_URL=f"http://{TOKEN}@{server.address}/little/.git#main")
            with pytest.raises(SettingsError, match="leads git elsewhere by a redirect"):
                fetch(named, tmp_path / "new", git(project, "rev-parse", "HEAD"))
    assert thief.asked == []


def test_git_follows_its_own_server_with_the_token(project, tmp_path):
    """A repository that was renamed."""
    with GitServer(project.parent, TOKEN, "") as behind:
        good = forward(behind.host)

        def answer(asked):
            old = asked.path.startswith("/old/")
            return Answer(301, {"Location": asked.path.replace("/old/", "/little/", 1)}) if old else good(asked)

        with Stranger(answer) as server:
            named = source(CHT_PIPELINE_BRANCH_URL=f"http://{TOKEN}@{server.address}/old/.git#main")
            repository = GitRepository(named)
            assert repository.checkout(repository.commit(), tmp_path / "new") == git(project, "rev-parse", "HEAD")


def test_a_header_that_the_environment_gives_git_goes_nowhere_else(thief, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.extraHeader")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"Authorization: Bearer {TOKEN}")
    with Stranger(leads_to(thief.url)) as server, pytest.raises(SettingsError, match="leads to"):
        GitRepository(source(CHT_PIPELINE_BRANCH_URL=f"{server.url}/o/p.git")).commit()
    assert thief.asked == []


def tarball():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("p/dbt_project.yml")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"name"))
    return stream.getvalue()


def test_a_tarball_is_not_asked_for_elsewhere_with_a_password(thief, tmp_path):
    with Stranger(leads_to(thief.url)) as server:
        named = source(DBT_PACKAGE_TARBALL_URL=f"http://me:{TOKEN}@{server.address}/p.tar.gz")
        with pytest.raises(SettingsError, match=f"{server.url} leads to {thief.url} by a redirect") as refused:
            fetch(named, tmp_path / "new")
        assert server.saw(*FORMS)
    assert thief.asked == []
    assert TOKEN not in str(refused.value)


def test_a_tarball_without_a_password_may_lie_elsewhere(tmp_path):
    """As those of GitHub do; on its own server one may be moved with a password too."""
    with Stranger(lambda _: Answer(body=tarball()), "localhost") as other, Stranger(leads_to(other.url)) as server:
        fetch(source(DBT_PACKAGE_TARBALL_URL=f"{server.url}/p.tar.gz"), tmp_path / "one")

    def moved(asked):
        return Answer(302, {"Location": "/new.tar.gz"}) if asked.path == "/p.tar.gz" else Answer(body=tarball())

    with Stranger(moved) as server:
        fetch(source(DBT_PACKAGE_TARBALL_URL=f"http://me:{TOKEN}@{server.address}/p.tar.gz"), tmp_path / "two")
        assert [FORMS[2] in asked.text for asked in server.asked] == [True, True]


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://[", "ftp://h/x", "http:///x"])
def test_redirects_to_nowhere(tmp_path, location):
    with Stranger(lambda _: Answer(302, {"Location": location} if location else {})) as server:
        with pytest.raises(SettingsError, match="no address to go to|more than 5 redirects"):
            fetch(source(DBT_PACKAGE_TARBALL_URL=f"{server.url}/p.tar.gz"), tmp_path / "new")
        assert len(server.asked) <= 6


@pytest.mark.parametrize("kind", ["git", "tarball"])
@pytest.mark.parametrize("after_login", [False, True])
def test_packages_of_a_project_send_no_password_elsewhere(thief, tmp_path, monkeypatch, kind, after_login):
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    folder = write_project(tmp_path / "team")
    with Stranger(leads_to(thief.url, after_login=after_login)) as server:
        entry = {
            "git": f"git: http://me:{TOKEN}@{server.address}/p.git\n    revision: main",
            "tarball": f"tarball: http://me:{TOKEN}@{server.address}/p.tar.gz\n    name: p",
        }[kind]
        (folder / "packages.yml").write_text(f"packages:\n  - {entry}\n")
        with pytest.raises(SettingsError):
            install(Settings({"DBT_LOCAL_PATH": str(folder), "CHT_PIPELINE_DIR": str(tmp_path / "pipeline")}))
        assert server.asked
    assert not thief.saw(*FORMS)


def test_whether_the_hub_answers_is_not_asked_elsewhere(thief):
    with Stranger(leads_to(thief.url)) as server:
        assert hub_answers(f"{server.url}/")
    assert thief.asked == []
