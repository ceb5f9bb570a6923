"""Deferred waits in a real triggerer, which a real scheduler hands them to."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
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


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def running(place):
    """Start scheduler, triggerer, and what else this version has, for a folder of DAGs."""

    def start(dags, job_seconds: float):
        api, worker_logs, trigger_logs = free_ports(3)
        here = place(
            dags,
            job_seconds,
            in_database=True,
            AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True",
            AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
            # With SQLite a worker of 3.0 can ask to run a task before the scheduler has stored that it may, which fails
            # the task ("previous_state: scheduled"). No code of ours has run by then.
            AIRFLOW__CORE__DEFAULT_TASK_RETRIES="3",
            AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY="1",
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://localhost:{api}/execution/",
            AIRFLOW__API__PORT=str(api),
            AIRFLOW__API__HOST="127.0.0.1",
            AIRFLOW__API__WORKERS="1",
            AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(worker_logs),
            AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(trigger_logs),
            AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
            AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL="5",
        )
        parts = [here.airflow(part, part, "--skip-serve-logs") for part in ("scheduler", "triggerer")]
        if has_execution_api():
            parts += [here.airflow(part, part) for part in ("dag-processor", "api-server")]
        return here, parts

    return start


def has_execution_api() -> bool:
    """Whether tasks talk to an API server, and DAGs are parsed by a process of their own."""
    from importlib.util import find_spec

    return find_spec("airflow.sdk") is not None


def wait_until(condition, parts, seconds: float, here):
    until = time.monotonic() + seconds
    while not (result := condition()):
        for part in parts:
            part.assert_running()
        if time.monotonic() > until:
            outputs = "\n".join(f"== {part.name}\n{part.output[-4000:]}" for part in parts)
            pytest.fail(f"{here.query('SELECT task_id, state FROM task_instance')}\n{outputs}")
        time.sleep(1)
    return result


def dag_run(running, folder, dag_id: str, file: str, job_seconds: float):
    """Run a DAG from a folder of its own: others there might have a schedule."""
    dags = folder / "dags"
    dags.mkdir()
    (dags / f"{dag_id}.py").write_text(file)
    here, parts = running(dags, job_seconds)
    wait_until(lambda: here.query("SELECT 1 FROM serialized_dag WHERE dag_id = ?", dag_id), parts, 120, here)
    trigger = here.airflow("trigger", "dags", "trigger", dag_id)
    assert trigger.wait(90) == 0, trigger.output

    def end():
        states = here.query("SELECT state FROM dag_run WHERE dag_id = ?", dag_id)
        return states and states[0][0] in ("success", "failed")

    wait_until(end, parts, 360, here)
    if here.query("SELECT state FROM dag_run WHERE dag_id = ?", dag_id) != [("success",)]:
        files = [*here.home.rglob("attempt=*.log*"), *(part.log for part in parts)]
        pytest.fail(
            f"{here.states(dag_id)}\n" + "\n".join(f"== {f}\n{f.read_text('utf-8', 'replace')[-5000:]}" for f in files)
        )
    assert set(here.states(dag_id).values()) == {"success"}
    return here


def logs(here) -> str:
    files = [*here.home.rglob("logs/**/*"), here.folder / "triggerer.log"]
    return "\n".join(path.read_text(errors="replace") for path in files if path.is_file())


def test_a_promotion_waits_in_the_triggerer(running, tmp_path):
    here = dag_run(running, tmp_path, "promote_minimal", MINIMAL.read_text(), job_seconds=20)
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


def test_many_waits_share_one_login(running, tmp_path):
    here = dag_run(running, tmp_path, "waits", WAITS, job_seconds=60)
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
