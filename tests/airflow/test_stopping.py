"""Tasks that are stopped while they work on a worker: a user marks or clears them, or their worker goes."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
import time

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.imports import InfaStartImportOperator
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.sensors.imports import InfaImportSensor


class TaskTerminatedError(BaseException):
    """What Airflow 2 raises."""


#: What ends the task: our own exception where Airflow raises none.
STOPPED = SystemExit if AIRFLOW_V_3_0_PLUS else TaskTerminatedError
#: Longer than the test, so that only the signal can end the wait.
WAITING = {"poll_interval": 60, "timeout": 8, "deferrable": False}


@pytest.fixture
def stop(context):
    """Run a task as Airflow's task runner does, and send the process SIGTERM when the task is where it shall be."""
    over, sent = threading.Event(), []

    def run(task, is_there):
        def on_term(signum, frame):
            task.on_kill()
            if not AIRFLOW_V_3_0_PLUS:
                raise STOPPED("Task received SIGTERM signal")

        def send():
            while not is_there():
                if over.wait(0.02):
                    return
            # From the answer to the sleep after it.
            time.sleep(0.2)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

        before = signal.signal(signal.SIGTERM, on_term)
        sender = threading.Thread(target=send)
        sender.start()
        try:
            with pytest.raises(STOPPED):
                task.execute(context)
        finally:
            over.set()
            sender.join()
            signal.signal(signal.SIGTERM, before)
        # Airflow 3 kills the process after this time.
        assert time.monotonic() - sent[0] < 5

    return run


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_export(promotion, stop, logged, deferrable):
    promotion.sim.add_fault("dev", {"kind": "never_end"})
    if deferrable:
        # The look before the deferral, which lasts as long as an outage does.
        promotion.sim.add_fault("dev", {"kind": "slow", "seconds": 8, "method": "GET", "path": "/export/"})
    arguments = {**WAITING, "objects": promotion.ids(), "deferrable": deferrable}
    stop(
        InfaExportOperator(task_id="t", infa_conn_id="infa_dev", **arguments),
        lambda: promotion.calls("dev", "GET", "/export/"),
    )
    [job] = promotion.sim.jobs("dev")
    assert re.search(rf"warning.*no call to cancel.*export job {job['id']} goes on", logged())
    assert job["state"] == "IN_PROGRESS"
    assert promotion.sim.sessions("dev")["open"] == 0


@pytest.mark.parametrize("sensor", [False, True])
def test_an_import(promotion, stop, logged, tmp_path, sensor):
    job_id = promotion.upload(promotion.package(tmp_path / "release.zip"))
    promotion.sim.add_fault("test", {"kind": "never_end"})
    promotion.start(job_id)
    before = len(promotion.calls("test", "GET", f"/{job_id}$"))
    named = {"task_id": "t", "infa_conn_id": "infa_test", "import_job_id": job_id}
    if sensor:
        task = InfaImportSensor(**named, poke_interval=8, timeout=8, deferrable=False)
    else:
        task = InfaStartImportOperator(**named, wait_for_completion=True, **WAITING)
    # The operator asks first whether the job runs already.
    looks = before + (1 if sensor else 2)
    stop(task, lambda: len(promotion.calls("test", "GET", f"/{job_id}$")) >= looks)
    assert re.search(rf"warning.*no call to cancel.*import job {job_id} goes on", logged())
    assert promotion.job(job_id)["state"] == "IN_PROGRESS"
    assert promotion.sim.sessions("test")["open"] == 0


def test_a_publication(promotion, stop, logged):
    promotion.sim.add_fault("dev", {"kind": "never_end", "path": "/publish$"})
    rows = [{"path": "Service/sc_tickets", "type": "AI_SERVICE_CONNECTOR"}]
    stop(
        InfaPublishOperator(task_id="t", infa_conn_id="infa_dev", objects=rows, **WAITING),
        lambda: promotion.calls("dev", "GET", "(?i)/publish/.*status$"),
    )
    assert re.search("warning.*no call to cancel.*goes on", logged())
    assert promotion.sim.sessions("dev")["open"] == 0


def test_what_runs_no_job(sim, promotion, stop, logged):
    sim.add_fault("dev", {"kind": "slow", "seconds": 8, "path": "/objects$"})
    stop(
        InfaListObjectsOperator(task_id="t", infa_conn_id="infa_dev"),
        lambda: promotion.calls("dev", "GET", "/objects$"),
    )
    assert "goes on" not in logged()
    assert sim.sessions("dev")["open"] == 0


def test_half_a_package_is_removed(sim, promotion, stop, tmp_path, monkeypatch):
    job_id = promotion.export()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    sim.add_fault("dev", {"kind": "slow", "seconds": 8, "path": "/package$"})
    target = {"export_job_id": job_id, "package_uri": str(tmp_path / "release.zip")}
    stop(
        InfaDownloadPackageOperator(task_id="t", infa_conn_id="infa_dev", **target),
        lambda: list((tmp_path / "temporary").iterdir()) and promotion.calls("dev", "GET", "/package$"),
    )
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]
    assert sim.sessions("dev")["open"] == 0


def test_nothing_is_raised_when_there_is_nothing_to_leave(sim, logged):
    """As after a timeout of the task, which is what has to be reported; and while a deferral is handed over."""
    task = InfaListObjectsOperator(task_id="t", infa_conn_id="infa_dev")
    task.on_kill()
    with InfaHook("infa_dev") as hook:
        assert hook.org_name
    task.on_kill()
    assert "goes on" not in logged()
