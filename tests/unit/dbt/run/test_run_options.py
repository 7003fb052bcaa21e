from airflow.sdk.definitions.param import ParamsDict

from cht_sync.dbt.run.run_options import model_params, run_vars, thread_flags
from cht_sync.settings.settings import Settings


def params(**given):
    made = ParamsDict(model_params())
    made.update(given)
    return made.validate()


def test_the_settings_count_where_the_params_are_empty():
    assert run_vars(Settings({}), params()) == {}
    assert run_vars(Settings({"DBT_BATCH_SIZE": "500"}), params()) == {"batch_size": 500}
    assert run_vars(Settings({"DBT_BATCH_SIZE": "500"}), None) == {"batch_size": 500}
    assert thread_flags(params()) == thread_flags(None) == []


def test_the_params_come_before_the_settings():
    settings = Settings({"DBT_BATCH_SIZE": "500"})
    assert run_vars(settings, params(batch_size=7, dbt_vars={"since": "2024-01-01"})) == {
        "batch_size": 7,
        "since": "2024-01-01",
    }
    assert run_vars(settings, params(batch_size=0)) == {}
    assert run_vars(settings, params(dbt_vars={"batch_size": 9})) == {"batch_size": 9}
    assert thread_flags(params(threads=8)) == ["--threads", "8"]
