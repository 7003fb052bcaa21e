import base64
import os
import threading

import psutil
import pytest

from cht_sync.dbt.deploy.install import install
from cht_sync.dbt.project.version import require_current
from cht_sync.errors import SettingsError
from tests.integration.dbt.git_server import GitServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def quick_dbt():
    """What is looked at is the processes and their arguments."""


TOKEN = "ghp_very/s3cret+token"
QUOTED = "ghp_very%2Fs3cret%2Btoken"
FORMS = [TOKEN, QUOTED, base64.b64encode(f"{TOKEN}:".encode()).decode()]


class ArgumentWatch(threading.Thread):
    """Looks at the arguments of every process under this one, again and again."""

    def __init__(self, pause_s=0.002):
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self.seen: set[str] = set()
        self._over = threading.Event()

    def run(self):
        while not self._over.wait(self._pause_s):
            for process in psutil.Process().children(recursive=True):
                try:
                    self.seen.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue

    def stop(self):
        self._over.set()
        self.join()
        return self.seen


def holds_secret(text):
    return any(form in text for form in FORMS)


def test_the_token_is_nowhere(repository, settings, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    watch = ArgumentWatch()
    with GitServer(repository.parent, TOKEN, "") as server:
        named = settings(CHT_PIPELINE_BRANCH_URL=f"http://{QUOTED}@{server.host}/{repository.name}/.git#v1")
        watch.start()
        made = install(named)
        seen = watch.stop()
        assert made.source == f"http://{server.host}/{repository.name}/.git#v1"
        assert require_current(named) == made
        assert any("ls-remote" in line for line in seen)
        assert any("fetch" in line for line in seen)
        assert not any(holds_secret(line) for line in seen)
        files = [path for path in (tmp_path / "pipeline").rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if any(form.encode() in path.read_bytes() for form in FORMS)]
        assert not holds_secret(caplog.text + "".join(capfd.readouterr()) + str(os.environ))

        wrong = settings(CHT_PIPELINE_BRANCH_URL=f"http://wr0ng-token@{server.host}/{repository.name}/.git#v1")
        with pytest.raises(SettingsError, match="git says") as refused:
            install(wrong)
        assert "wr0ng-token" not in str(refused.value)
        assert require_current(named) == made
