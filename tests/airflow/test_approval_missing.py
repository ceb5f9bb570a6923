"""Airflow before 3.1 can't ask people: it says so when the DAG is parsed, and what to do instead."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException

from airflow_provider_infa.promotion import promote

ARGUMENTS = {"source_conn_id": "infa_dev", "target_conn_id": "infa_test", "objects": ["x"]}


def test_an_approval_is_refused_when_the_dag_is_parsed():
    with DAG("d", schedule=None), pytest.raises(AirflowOptionalProviderFeatureException) as error:
        promote("p", **ARGUMENTS, approval=True)
    for part in ("Airflow 3.1", "apache-airflow-providers-standard", "approval='automatic'", "approval=False"):
        assert part in str(error.value)


@pytest.mark.parametrize("approval", [False, "automatic"])
def test_what_it_names_instead_works(approval):
    with DAG("d", schedule=None) as dag:
        promote("p", **ARGUMENTS, approval=approval)
    assert "p.approve" not in dag.task_ids
    assert bool(dag.get_task("p.start_import").approval) == (approval == "automatic")


def test_the_operator_itself_cannot_be_imported():
    with pytest.raises((ImportError, AirflowOptionalProviderFeatureException), match=r"3\.1|standard"):
        from airflow_provider_infa.operators.approval import InfaApprovePlanOperator  # noqa: F401
