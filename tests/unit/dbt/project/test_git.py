import base64
import subprocess

import pytest

from cht_sync.dbt.project import git as module
from cht_sync.dbt.project.git import GitRepository
from cht_sync.dbt.project.limited import Done
from cht_sync.dbt.project.source import Source
from cht_sync.errors import SettingsError

SECRET = Source("git", "https://h:8443/o/p.git", "main", user="t0ken")


@pytest.fixture
def calls(monkeypatch):
    """Records how git would be run, and gives it the answer of ``calls.answer``."""

    class Calls(list):
        answer = (0, "", "")

    recorded = Calls()

    def run(command, **options):
        recorded.append((command, options))
        return Done(*recorded.answer)

    monkeypatch.setattr(module, "run_limited", run)
    return recorded


def test_credentials_travel_in_the_environment_only(calls, monkeypatch):
    monkeypatch.setenv("GIT_TRACE_CURL", "/tmp/trace")
    calls.answer = (0, "abc\trefs/heads/main\n", "")
    assert GitRepository(SECRET).commit() == "abc"
    command, options = calls[0]
    encoded = base64.b64encode(b"t0ken:").decode()
    assert not any("t0ken" in part or encoded in part for part in command)
    assert isinstance(command, list)
    assert options.get("shell") is None
    env = options["env"]
    config = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
    assert config["http.https://h:8443/.extraHeader"] == f"Authorization: Basic {encoded}"
    assert config["protocol.ext.allow"] == "never"
    assert env["GIT_TERMINAL_PROMPT"] == "0"
    assert "GIT_TRACE_CURL" not in env


def test_what_the_environment_says_to_git_is_kept_but_not_its_repository(calls, monkeypatch):
    calls.answer = (0, "abc\trefs/heads/main\n", "")
    inherited = {"http.proxy": "http://proxy:3128", "protocol.ext.allow": "always"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(inherited)))
    for number, (key, value) in enumerate(inherited.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    repository = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    for name in repository:
        monkeypatch.setenv(name, "/elsewhere")
    GitRepository(SECRET).commit()
    env = calls[0][1]["env"]
    # Of two values of one key the last one counts.
    config = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
    assert config["http.proxy"] == "http://proxy:3128"
    assert config["protocol.ext.allow"] == "never"
    assert "http.https://h:8443/.extraHeader" in config
    assert not env.keys() & set(repository)


def test_the_url_comes_after_the_options(calls):
    calls.answer = (0, "abc\tHEAD\n", "")
    GitRepository(Source("git", "/srv/p")).commit()
    command = calls[0][0]
    assert command[command.index("--") + 1 :] == ["/srv/p", "HEAD"]


def test_a_branch_goes_before_a_tag_and_a_tag_means_its_commit(calls):
    both = "c1\trefs/heads/main\nc2\trefs/tags/main\n"
    calls.answer = (0, both, "")
    assert GitRepository(SECRET).commit() == "c1"
    calls.answer = (0, "t1\trefs/tags/main\nc3\trefs/tags/main^{}\n", "")
    assert GitRepository(SECRET).commit() == "c3"


def test_what_git_says_is_told_without_the_secret(calls):
    calls.answer = (128, "", "fatal: Authentication failed for 'https://t0ken@h:8443/o/p.git/'\n")
    with pytest.raises(SettingsError, match="Authentication failed") as refused:
        GitRepository(SECRET).commit()
    assert "t0ken" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_ref_and_a_missing_git(calls, monkeypatch):
    with pytest.raises(SettingsError, match="no branch, tag or commit 'main'"):
        GitRepository(SECRET).commit()

    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(module, "run_limited", missing)
    with pytest.raises(SettingsError, match="the program git is missing"):
        GitRepository(SECRET).commit()


def test_no_answer_in_time(monkeypatch):
    def slow(command, **_):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(module, "run_limited", slow)
    with pytest.raises(SettingsError, match="no answer"):
        GitRepository(SECRET).commit()
