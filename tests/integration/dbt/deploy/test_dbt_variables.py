"""Projects that read variables of their own."""

from __future__ import annotations

import logging

import pytest

from cht_sync.dbt.deploy.install import install
from cht_sync.errors import SettingsError
from tests.integration.dbt.conftest import write_project

pytestmark = pytest.mark.integration


def test_a_project_that_misses_a_variable_says_which_and_what_to_do(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_REGION", "s3cret-north")
    model = "select '{{ env_var('MY_REGION') }}' as region"
    project = write_project(tmp_path / "asks", **{"models__three.sql": model})
    with pytest.raises(SettingsError, match="'MY_REGION'.* set CHT_DBT_ENV_MY_REGION where Airflow runs") as refused:
        install(settings(DBT_LOCAL_PATH=str(project)))
    assert "s3cret-north" not in str(refused.value)
    made = install(settings(DBT_LOCAL_PATH=str(project), CHT_DBT_ENV_MY_REGION="north"))
    assert made.models == 3


def test_a_default_that_counts_where_a_variable_did_before_is_told(settings, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("MY_REGION", "s3cret-north")
    model = "select '{{ env_var('MY_REGION', 'none') }}' as region"
    project = write_project(tmp_path / "asks", **{"models__three.sql": model})
    install(settings(DBT_LOCAL_PATH=str(project)))
    assert "asks with env_var() for MY_REGION" in caplog.text
    assert "CHT_DBT_ENV_MY_REGION" in caplog.text
    assert "s3cret-north" not in caplog.text
