"""Sensors in all their modes: on a worker, rescheduled, deferred."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_infa.idmc.errors import IdmcError, IdmcInputError, IdmcJobFailedError, IdmcNotFoundError
from airflow_provider_infa.sensors.exports import InfaExportSensor
from airflow_provider_infa.sensors.imports import InfaImportSensor

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

MODES = ["poke", "reschedule", "deferrable"]


def sensor(job_id: str, mode: str = "poke", **arguments):
    arguments = {"poke_interval": 0.05, **arguments}
    if mode == "deferrable":
        arguments["deferrable"] = True
    else:
        arguments |= {"mode": mode, "deferrable": False}
    return lambda: InfaImportSensor(task_id="wait", infa_conn_id="infa_test", import_job_id=job_id, **arguments)


@pytest.fixture
def wait(run, monkeypatch):
    """Run a sensor to its end, through all reschedules."""
    first: list[datetime] = []
    module = importlib.import_module(InfaImportSensor.__mro__[3].__module__)
    if hasattr(module, "_orig_start_date"):  # Airflow 2 asks its database
        monkeypatch.setattr(module, "_orig_start_date", lambda *args, **kwargs: first[0] if first else None)

    def to_the_end(make):
        while True:
            try:
                return run(make)
            except AirflowRescheduleException:
                if not first:
                    first.append(datetime.now(timezone.utc))
                    run.context["ti"].first_reschedule = first[0]
                wait.reschedules += 1

    wait = to_the_end
    wait.reschedules = 0
    return wait


@pytest.mark.parametrize("mode", MODES)
def test_waiting_for_an_import(promotion, ready_import, run, wait, mode):
    promotion.end_jobs_after_two_looks()
    job_id = ready_import()
    result = wait(sensor(job_id, mode))
    assert result == {
        "id": job_id,
        "name": result["name"],
        "state": "SUCCESSFUL",
        "message": "Import completed successfully",
        "counts": {
            "objects": 11, "successful": 11, "warning": 0, "failed": 0, "created": 4, "overwritten": 2, "reused": 5,
        },
        "failed": [],
    }  # fmt: skip
    assert len(run.xcom["objects"]) == 11
    assert {row["done"] for row in run.xcom["objects"]} == {"created", "overwritten", "reused"}
    assert len(run.deferrals) == (mode == "deferrable")
    assert (wait.reschedules > 0) == (mode == "reschedule")
    assert promotion.open_sessions() == 0


@pytest.mark.parametrize("mode", MODES)
def test_waiting_for_an_export(promotion, wait, mode):
    job_id = promotion.export()
    deferrable = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    result = wait(lambda: InfaExportSensor(task_id="wait", infa_conn_id="infa_dev", export_job_id=job_id, **deferrable))
    assert (result["id"], result["state"]) == (job_id, "SUCCESSFUL")


def test_one_login_for_many_pokes(promotion, ready_import, wait):
    promotion.end_jobs_after_two_looks()
    job_id = ready_import()
    before = promotion.sim.sessions("test")["logins"]
    wait(sensor(job_id))
    assert promotion.sim.sessions("test")["logins"] == before + 1
    assert promotion.open_sessions() == 0


def test_deferring_is_a_matter_of_configuration():
    # Read once, when the module is imported, as Airflow's own providers do.
    code = (
        "from airflow_provider_infa.sensors.imports import InfaImportSensor as S\n"
        "from airflow_provider_infa.operators.exports import InfaExportOperator as E\n"
        "from airflow_provider_infa.operators.imports import InfaStartImportOperator as I\n"
        "tasks = S(task_id='t', import_job_id='x'), E(task_id='t', objects=[]), I(task_id='t', import_job_id='x')\n"
        "print(*[task.deferrable for task in tasks])"
    )
    env = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=env)
    assert done.stdout.split()[-3:] == ["True"] * 3, done.stderr
    assert InfaImportSensor(task_id="t", import_job_id="x").deferrable is False


# --- soft_fail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_timeout(promotion, ready_import, wait, mode, soft_fail):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        wait(sensor(job_id, mode, timeout=0.4, soft_fail=soft_fail))
    assert promotion.open_sessions() == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_failed_job(promotion, ready_import, run, wait, logged, mode, soft_fail):
    promotion.end_jobs_after_two_looks()
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/m_orders"], "message": "No space left."})
    job_id = ready_import()
    with pytest.raises(IdmcJobFailedError) as error:
        wait(sensor(job_id, mode, soft_fail=soft_fail))
    for part in (job_id, "ACME_TEST", "DTEMPLATE Sales/m_orders", "No space left."):
        assert part in str(error.value)
    assert any(row["state"] == "FAILED" for row in run.xcom["objects"])
    assert f"Log of import job {job_id}" in logged()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_job_that_the_org_does_not_have(sim, wait, mode, soft_fail):
    # With soft_fail Airflow would skip on the exception that fails a task for good.
    with pytest.raises(IdmcNotFoundError if soft_fail else AirflowFailException, match="404"):
        wait(sensor("0123456789abcdefABCDEF", mode, soft_fail=soft_fail))


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_job_that_is_lost_while_deferred(promotion, ready_import, run, soft_fail):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    # The first look is the task's, those after it the trigger's.
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": "/import/", "every": 2})
    with pytest.raises(IdmcError if soft_fail else AirflowFailException, match="403"):
        run(sensor(job_id, "deferrable", soft_fail=soft_fail))
    assert run.events[0]["status"] == "refused"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_wrong_password(sim, connect, wait, mode, soft_fail):
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    with pytest.raises(IdmcError if soft_fail else AirflowFailException) as error:
        wait(sensor("abc", mode, soft_fail=soft_fail))
    assert "forgotten" not in str(error.value)
    assert sim.sessions("test")["failed_logins"] == 1


# --- silent_fail and never_fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_silence_does_not_cover_a_failed_job(promotion, ready_import, wait, mode, soft_fail):
    """With soft_fail it would be a skip at the timeout."""
    promotion.sim.add_fault("test", {"kind": "fail_job", "message": "disk full"})
    with pytest.raises(IdmcJobFailedError, match="disk full"):
        wait(sensor(ready_import(), mode, timeout=1, soft_fail=soft_fail, silent_fail=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_silence_does_not_try_a_wrong_password_again(sim, connect, wait, mode, soft_fail):
    """Each poke of a rescheduled sensor is a login: ten of them lock the account."""
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    with pytest.raises(IdmcError if soft_fail else AirflowFailException):
        wait(sensor("abc", mode, timeout=1, soft_fail=soft_fail, silent_fail=True))
    assert sim.sessions("test")["failed_logins"] == 1


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_silence_covers_what_may_pass(promotion, ready_import, wait, mode, soft_fail, change_connection):
    job_id = ready_import()
    change_connection(retry_timeout=0)
    fault = {"kind": "maintenance", "method": "GET", "path": "/import/"}
    promotion.sim.add_fault("test", {**fault, "times": 2})
    assert wait(sensor(job_id, mode, soft_fail=soft_fail, silent_fail=True))["state"] == "SUCCESSFUL"
    promotion.sim.add_fault("test", fault)
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        wait(sensor(job_id, mode, timeout=0.3, soft_fail=soft_fail, silent_fail=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["a failed job", "no such job", "an outage"])
def test_what_never_fails_is_skipped(promotion, ready_import, wait, change_connection, mode, what):
    """Airflow's documentation: "if poke method raises an exception, sensor will be skipped"."""
    job_id = "0123456789abcdefABCDEF"
    if what == "a failed job":
        promotion.sim.add_fault("test", {"kind": "fail_job"})
        job_id = ready_import()
    elif what == "an outage":
        change_connection(retry_timeout=0)
        promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/"})
    with pytest.raises(AirflowSkipException):
        wait(sensor(job_id, mode, never_fail=True))


@pytest.mark.parametrize("struck", ["fail_job", "deny", "never_end"])
def test_what_never_fails_is_skipped_after_a_deferral_too(promotion, ready_import, run, struck):
    if struck == "fail_job":
        promotion.end_jobs_after_two_looks()
        promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/m_orders"]})
    else:
        promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    if struck == "deny":
        promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": "/import/", "every": 2})
    with pytest.raises(AirflowSkipException):
        run(sensor(job_id, "deferrable", timeout=30 if struck == "fail_job" else 1, never_fail=True))
    assert len(run.deferrals) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", ["", None, "None"])
def test_an_id_that_is_none(sim, wait, mode, missing):
    with pytest.raises(AirflowFailException, match="import job id") as error:
        wait(sensor(missing, mode))
    assert isinstance(error.value.__cause__, IdmcInputError)


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_an_interval_of_zero_is_refused(promotion, ready_import, wait, mode):
    # Airflow takes it, and IDMC would be asked without a pause.
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    with pytest.raises(AirflowFailException, match="poke_interval"):
        wait(sensor(job_id, mode, poke_interval=0))


def test_an_interval_below_zero_is_refused():
    with pytest.raises((ValueError, AirflowException), match="poke_interval"):
        sensor("x", poke_interval=-1)()


def test_airflows_own_spans(promotion, ready_import, context):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    make = sensor(job_id, "deferrable", poke_interval=timedelta(seconds=7), timeout=timedelta(seconds=90))
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(context)
    trigger = deferred.value.trigger
    assert trigger.poll_interval == 7.0
    assert trigger.deadline == pytest.approx(datetime.now(timezone.utc).timestamp() + 90, abs=5)


def test_execution_timeout_is_part_of_the_deadline(promotion, ready_import, run, context):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    make = sensor(job_id, "deferrable", timeout=3600, execution_timeout=timedelta(seconds=100))
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(context)
    assert deferred.value.trigger.deadline == pytest.approx(datetime.now(timezone.utc).timestamp() + 100, abs=5)
    with pytest.raises(AirflowSensorTimeout):
        run(sensor(job_id, "deferrable", timeout=3600, execution_timeout=timedelta(seconds=0.5)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", [True, False, "True", "False"])
def test_fail_on_warning(promotion, ready_import, wait, mode, flag):
    promotion.sim.change_settings("test", partial_state="WARNING")
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    warn(promotion, job_id)
    make = sensor(job_id, mode, fail_on_warning=flag)
    if str(flag) == "False":
        assert wait(make)["state"] == "WARNING"
    else:
        with pytest.raises(IdmcJobFailedError, match="Set fail_on_warning=False"):
            wait(make)


def warn(promotion, job_id: str) -> None:
    """Let a job end with a warning, all objects of it well; the simulator warns only where an object failed."""
    from datetime import UTC

    from airflow_provider_infa.simulator import jobs

    (job,) = (job for job in promotion.sim._orgs["test"].jobs if job.id == job_id)
    promotion.sim._call(lambda: None)
    job.effect, job.rows, job.ended = None, [], datetime.now(UTC)
    job.state, job.message = jobs.WARNING, "Completed with warnings."


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_flag_is_refused_before_the_wait(promotion, ready_import, wait, mode):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    with pytest.raises(AirflowFailException, match="fail_on_warning"):
        wait(sensor(job_id, mode, fail_on_warning="perhaps", timeout=0.5))


@pytest.mark.parametrize("mode", MODES)
def test_templates_are_rendered(promotion, ready_import, run, wait, mode):
    job_id = ready_import()

    def make():
        task = sensor("{{ params.id }}", mode, fail_on_warning="{{ params.flag }}")()
        task.render_template_fields({**run.context, "params": {"id": job_id, "flag": True}})
        return task

    assert wait(make)["id"] == job_id


def test_the_log_of_a_wait_is_readable(promotion, ready_import, wait, logged):
    promotion.end_jobs_after_two_looks()
    job_id = ready_import()
    wait(sensor(job_id))
    text = logged()
    assert f"Import job {job_id} is IN_PROGRESS." in text
    assert re.search(rf"Import job {job_id} in org ACME_TEST ended SUCCESSFUL: .*11 objects: .*4 created", text)
    groups = re.findall(r"::(group|endgroup)::", text)
    assert groups == ["group", "endgroup"] * (len(groups) // 2)
    assert "Sales/Staging/mt load customers" in text
