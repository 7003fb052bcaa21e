import io
import tarfile

import requests

from cht_sync.dbt.project.hub import StandInHub, hub_answers


def test_the_stand_in_has_any_likely_version_of_what_was_asked_for():
    with StandInHub({"dbt-labs/dbt_utils"}) as hub:
        assert requests.get(f"{hub.url}api/v1/index.json", timeout=5).json() == ["dbt-labs/dbt_utils"]
        package = requests.get(f"{hub.url}api/v1/dbt-labs/dbt_utils.json", timeout=5).json()
        assert {"1.1.1", "0.10.0"} <= set(package["versions"])
        body = requests.get(package["versions"]["1.1.1"]["downloads"]["tarball"], timeout=5).content
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            assert archive.getnames() == ["dbt_utils", "dbt_utils/dbt_project.yml"]
        assert requests.get(f"{hub.url}nope", timeout=5).status_code == 404
        assert hub_answers(hub.url)
    assert not hub_answers("http://127.0.0.1:9/")
