"""Deferred waits in a real triggerer, which a real scheduler hands them to."""

from __future__ import annotations

from pathlib import Path

import pytest

MINIMAL = Path(__file__).resolve().parents[2] / "example_dags" / "promote_minimal.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Several waits at once, because a connection that is fetched in the wrong way hangs only in company.
WAITS = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.sensors.exports import InfaExportSensor

with DAG("waits", schedule=None):
    found = InfaListObjectsOperator(task_id="list", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(
        task_id="export", infa_conn_id="infa_dev", objects=found.output, wait_for_completion=False
    )
    InfaExportSensor.partial(
        task_id="wait", infa_conn_id="infa_dev", export_job_id=export.output, timeout=300
    ).expand(poke_interval=[1.0 + n / 10 for n in range(8)])
"""


def dag_run(place, folder, dag_id: str, file: str, job_seconds: float):
    """Run a DAG from a folder of its own: others there might have a schedule."""
    dags = folder / "dags"
    dags.mkdir()
    (dags / f"{dag_id}.py").write_text(file)
    here = place(dags, job_seconds, in_database=True)
    here.start_airflow()
    here.trigger(dag_id)
    assert here.end(dag_id) == "success", here.report(dag_id)
    assert set(here.states(dag_id).values()) == {"success"}
    return here


def logs(here) -> str:
    files = [*here.home.rglob("logs/**/*"), here.folder / "triggerer.log"]
    return "\n".join(path.read_text(errors="replace") for path in files if path.is_file())


@pytest.mark.everywhere
def test_a_promotion_waits_in_the_triggerer(place, tmp_path):
    here = dag_run(place, tmp_path, "promote_minimal", MINIMAL.read_text(), job_seconds=20)
    jobs = here.look("test", "jobs")
    assert [(job["state"], job["starts"]) for job in jobs] == [("SUCCESSFUL", 1)]
    # Both waits were deferred, and ended by an event of ours.
    assert logs(here).count("'status': 'ended'") >= 2
    for org in ("dev", "test"):
        sessions = here.look(org, "sessions")
        assert (sessions["open"], sessions["failed_logins"]) == (0, 0)
    assert here.leaks() == []
    here.stop()
    assert here.left() == []


def test_many_waits_share_one_login(place, tmp_path):
    here = dag_run(place, tmp_path, "waits", WAITS, job_seconds=60)
    # Executors that run one task at a time may come to the last ones only when the job has ended.
    deferred = min(8, logs(here).count("'status': 'ended'"))
    assert deferred >= 4
    # Two tasks before the waits; each sensor before its wait, and after it; and one or two for the triggerer.
    sessions = here.look("dev", "sessions")
    assert sessions["logins"] <= 2 + 8 + deferred + 2
    assert (sessions["open"], sessions["failed_logins"]) == (0, 0)
    assert here.leaks() == []
    here.stop()
    assert here.left() == []
