"""Deferred waits in a real triggerer, which a real scheduler hands them to."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

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


STOPPED = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_infa.operators.exports import InfaExportOperator

with DAG("stopped", schedule=None):
    objects = [{"path": "Sales/mt_orders", "type": "MTT"}]
    InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=objects, poll_interval=5, deferrable=False)
"""


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 raises an exception of its own in a task that is stopped")
def test_a_task_that_a_person_stops_logs_out(place, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "stopped.py").write_text(STOPPED)
    here = place(dags, 600, in_database=True)
    here.start_airflow()
    here.trigger("stopped")
    here.wait_until(lambda: here.look("dev", "jobs") and "is IN_PROGRESS" in logs(here), 240)
    assert here.look("dev", "sessions")["open"] == 1
    (run,) = here.rest("dags/stopped/dagRuns")["dag_runs"]
    task = f"dags/stopped/dagRuns/{run['dag_run_id']}/taskInstances/export"
    here.rest(task, {"new_state": "failed"}, "PATCH")
    here.wait_until(lambda: here.look("dev", "sessions")["open"] == 0, 60)
    assert here.end("stopped") == "failed"
    (job,) = here.look("dev", "jobs")
    assert f"The wait was stopped. IDMC has no call to cancel a job: export job {job['id']} goes on." in logs(here)
    # The mark of a person is no failure that a retry mends.
    assert here.query("SELECT state, try_number FROM task_instance") == [("failed", 1)]
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
