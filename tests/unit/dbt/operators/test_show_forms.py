import pytest
from airflow.sdk.exceptions import AirflowSkipException

from cht_sync.dbt.operators.show_forms import ShowForms
from cht_sync.errors import ModelFailedError


class Ti:
    def __init__(self, results):
        self.results = results

    def xcom_pull(self, task_ids, key):
        assert (task_ids, key) == ("models.dbt_run", "forms")
        return self.results


def show(results):
    ShowForms(task_id="forms", dbt_task_id="models.dbt_run").execute({"ti": Ti(results)})


def test_forms_that_ended_well_are_listed(caplog):
    show({"model.cht_forms.form_a": ("success", "INSERT 0 3")})


def test_what_failed_is_named():
    with pytest.raises(ModelFailedError, match="form_b error: no such column"):
        show({"model.cht_forms.form_a": ("success", ""), "model.cht_forms.form_b": ("error", "no such column")})


def test_no_report_of_a_form_is_no_failure():
    with pytest.raises(AirflowSkipException):
        show({})


def test_a_run_that_did_not_come_so_far_is_told():
    with pytest.raises(ModelFailedError, match=r"look at the log of models\.dbt_run"):
        show(None)


def test_models_that_were_not_reached_have_not_failed():
    late = {"model.cht_forms.form_b": ("not reached", "The time is over.")}
    with pytest.raises(AirflowSkipException, match=r"1 models of forms were not reached\. The time is over\."):
        show({"model.cht_forms.form_a": ("success", ""), **late})
    with pytest.raises(ModelFailedError, match="form_c error"):
        show({"model.cht_forms.form_c": ("error", ""), **late})
