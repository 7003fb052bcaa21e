import pytest

from cht_sync.dbt.project.source import configured_source
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings


def source(**environ):
    return configured_source(Settings(environ))


def git(url):
    return source(CHT_PIPELINE_BRANCH_URL=url)


def test_nothing_set_means_the_starter():
    assert source().kind == "starter"
    assert source(CHT_PIPELINE_BRANCH_URL="  ").kind == "starter"


def test_the_first_choice_wins_and_says_so(caplog, tmp_path):
    chosen = source(
        DBT_LOCAL_PATH=str(tmp_path), DBT_PACKAGE_TARBALL_URL="https://h/p.tgz", CHT_PIPELINE_BRANCH_URL="https://h/p"
    )
    assert (chosen.kind, chosen.location) == ("folder", str(tmp_path))
    assert "CHT_PIPELINE_BRANCH_URL and DBT_PACKAGE_TARBALL_URL is set too" in caplog.text
    assert source(DBT_PACKAGE_TARBALL_URL="https://h/p.tgz", CHT_PIPELINE_BRANCH_URL="https://h/p").kind == "git"


@pytest.mark.parametrize("path", ["/path/to/cht-pipeline/", "~nouser/p", "./nothing/here", "x" * 5000])
def test_a_folder_that_is_not_there_does_not_stop_a_copied_env_file(caplog, path):
    chosen = source(DBT_LOCAL_PATH=path, CHT_PIPELINE_BRANCH_URL="https://github.com/medic/cht-pipeline.git#main")
    assert (chosen.kind, chosen.ref) == ("git", "main")
    assert "does not exist here: CHT_PIPELINE_BRANCH_URL is used" in caplog.text
    assert source(DBT_LOCAL_PATH=path, DBT_PACKAGE_TARBALL_URL="https://h/p.tgz").kind == "tarball"


def test_a_folder_alone_is_what_is_meant():
    assert source(DBT_LOCAL_PATH="/path/to/cht-pipeline/").kind == "folder"


@pytest.mark.parametrize(
    ("url", "location", "ref"),
    [
        ("https://github.com/medic/cht-pipeline.git#main", "https://github.com/medic/cht-pipeline.git", "main"),
        ("https://github.com/medic/cht-pipeline", "https://github.com/medic/cht-pipeline", ""),
        ("https://h/p.git#feature/a-b", "https://h/p.git", "feature/a-b"),
        ("git@github.com:medic/p.git#v2.0.0", "git@github.com:medic/p.git", "v2.0.0"),
        ("ssh://git@h:2222/p.git#x", "ssh://git@h:2222/p.git", "x"),
        ("ssh://git:pw@h/p.git", "ssh://git@h/p.git", ""),
        ("file:///srv/p#main", "file:///srv/p", "main"),
        ("/srv/p#abc123", "/srv/p", "abc123"),
        ("github.com:medic/p.git#main", "github.com:medic/p.git", "main"),
        ("backup:p.git", "backup:p.git", ""),
        ("/srv/a:b/p", "/srv/a:b/p", ""),
        ("git://h/p.git#main", "git://h/p.git", "main"),
        ("https://h/p#refs/heads/main", "https://h/p", "refs/heads/main"),
    ],
)
def test_git_urls(url, location, ref):
    found = git(url)
    assert (found.kind, found.location, found.ref) == ("git", location, ref)
    assert found.secrets == []


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch /tmp/owned'",
        "fd::17",
        "--upload-pack=touch /tmp/owned",
        "-oProxyCommand=x",
        "#main",
        "https://h/p\nx",
        "https://h/a b",
        "ftp://h/p",
        "javascript://h/p",
        "https://h/p#-x",
        "https://h/p#a..b",
        "https://h/p#a b",
        "https://h/p#a:b",
        "https://h/p#a^{x}",
        "https://[h/p",
        "~nouser/p",
    ],
)
def test_hostile_and_broken_git_urls_are_refused(url):
    with pytest.raises(SettingsError, match="CHT_PIPELINE_BRANCH_URL"):
        git(url)


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [
        ("https://ghp_t0ken@github.com/o/p.git#main", "ghp_t0ken", ""),
        ("https://me:s%2Fcret@github.com/o/p.git#main", "me", "s/cret"),
    ],
)
def test_credentials_are_split_off_and_never_shown(url, user, password):
    found = git(url)
    assert (found.user, found.password) == (user, password)
    shown = f"{found.text} {found!r} {found.fingerprint} {found}"
    assert not any(secret in shown for secret in found.secrets)
    assert found.text == "https://github.com/o/p.git#main"
    assert found.secrets


def test_a_folder_with_a_colon_in_its_name_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert git("a:b#main").location == str(tmp_path / "a:b")
    assert git("./c:d").location == str(tmp_path / "c:d")


def test_a_folder_of_nobody_is_refused():
    with pytest.raises(SettingsError, match="DBT_LOCAL_PATH"):
        source(DBT_LOCAL_PATH="~nouser/p")


@pytest.mark.parametrize(
    "url", ["git://t0ken@h/p", "git://me:t0ken@h/p", "file://t0ken@h/p", "me:t0ken@h/p.git", "me:t0ken@h://p"]
)
def test_credentials_where_git_has_no_place_for_them_are_refused(url):
    with pytest.raises(SettingsError, match="CHT_PIPELINE_BRANCH_URL") as refused:
        git(url)
    assert "t0ken" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_refused_url_with_credentials_is_not_shown():
    with pytest.raises(SettingsError) as refused:
        git("gopher://ghp_t0ken@h/p#main")
    assert "ghp_t0ken" not in str(refused.value)


def test_other_credentials_are_the_same_source():
    assert (
        git("https://a@h/p#m").fingerprint == git("https://b:c@h/p#m").fingerprint == git("https://h/p#m").fingerprint
    )


def test_fingerprints_tell_sources_apart():
    urls = ["https://h/p", "https://h/p#m", "https://h/p#n", "https://h/q#m", "/srv/p"]
    marks = [git(url).fingerprint for url in urls] + [source(DBT_LOCAL_PATH="/srv/p").fingerprint, source().fingerprint]
    assert len(set(marks)) == len(marks)


def test_the_query_of_a_tarball_is_used_but_not_shown():
    found = source(DBT_PACKAGE_TARBALL_URL="https://me:pw@h/p.tgz?signature=abc")
    assert found.location == "https://h/p.tgz?signature=abc"
    assert found.text == "https://h/p.tgz?..."
    with pytest.raises(SettingsError, match="http or https"):
        source(DBT_PACKAGE_TARBALL_URL="file:///etc/passwd")


def test_a_token_of_its_own_is_that_of_the_address():
    address = "https://h/p.git#m"
    assert git_with_token(address, "ghp_t0ken").secrets == git("https://ghp_t0ken@h/p.git#m").secrets
    found = git_with_token(address, "oauth2:t:ken")
    assert (found.user, found.password, found.location) == ("oauth2", "t:ken", "https://h/p.git")
    assert found.fingerprint == git(address).fingerprint
    assert "t0ken" not in repr(git_with_token(address, "ghp_t0ken"))
    tarball = source(DBT_PACKAGE_TARBALL_URL="https://h/p.tgz", CHT_PIPELINE_TOKEN="t0ken")
    assert tarball.user == "t0ken"


def test_a_token_that_has_no_use_is_none(tmp_path):
    for named in ({}, {"DBT_LOCAL_PATH": str(tmp_path)}):
        assert source(**named, CHT_PIPELINE_TOKEN="t0ken").secrets == []


@pytest.mark.parametrize("url", ["https://me@h/p", "https://me:pw@h/p", "ssh://git@h/p", "git@h:p.git", "/srv/p.git"])
def test_a_token_beside_another_or_for_another_protocol_is_refused(url):
    with pytest.raises(SettingsError, match="CHT_PIPELINE_TOKEN is set") as refused:
        git_with_token(url, "t0ken")
    assert "t0ken" not in str(refused.value)


def git_with_token(url, token):
    return source(CHT_PIPELINE_BRANCH_URL=url, CHT_PIPELINE_TOKEN=token)
