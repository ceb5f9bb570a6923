"""What operators and sensors, deferred or not, share: errors, deadlines, events, results."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.imports import InfaStartImportOperator
from airflow_provider_infa.sensors.exports import InfaExportSensor
from airflow_provider_infa.sensors.imports import InfaImportSensor
from airflow_provider_infa.waiting import BACKSTOP, conclude, deadline_after, failing_for_good, job_of_event

ERRORS = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.IdmcError)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_what_a_retry_cannot_mend_fails_for_good(error, soft_fail):
    with pytest.raises(errors.IdmcError if soft_fail else Exception) as raised, failing_for_good(soft_fail=soft_fail):
        raise error("what happened")
    # With soft_fail Airflow would turn the exception for that into a skip.
    assert isinstance(raised.value, AirflowException) == (not error.transient and not soft_fail)
    assert isinstance(raised.value, AirflowFailException) == (not error.transient and not soft_fail)
    assert str(raised.value) == "what happened"


def test_a_failed_job_is_told_apart_from_other_failures():
    for soft_fail in (False, True):
        with pytest.raises(errors.IdmcJobFailedError), failing_for_good(soft_fail=soft_fail):
            raise errors.IdmcJobFailedError("x")
    # A retry of an export runs another job; one of an import would only look at the same failed one.
    with pytest.raises(errors.IdmcJobFailedError) as raised, failing_for_good(job_is_retried=True):
        raise errors.IdmcJobFailedError("x")
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_no_error_of_the_client_is_one_that_soft_fail_skips_on(error):
    assert not issubclass(error, AirflowException)


def test_other_errors_pass():
    with pytest.raises(KeyError), failing_for_good():
        raise KeyError("x")


@pytest.mark.parametrize(("timeout", "execution_timeout", "left"), [
    (100, None, 100), (100, timedelta(seconds=7), 7), (5, timedelta(seconds=7), 5),
])  # fmt: skip
def test_the_deadline_is_the_nearer_of_the_two(timeout, execution_timeout, left):
    assert deadline_after(timeout, execution_timeout) - time.time() == pytest.approx(left, abs=1)


# --- events -----------------------------------------------------------------------------------------------------------


GARBAGE = [None, {}, {"status": "ended"}, {"job_id": "x"}, {"status": "timeout"}, {"status": "done", "job_id": "x"}]


@pytest.mark.parametrize("event", GARBAGE)
def test_an_event_that_is_none_of_ours_is_no_success(event):
    with pytest.raises(RuntimeError) as error:
        job_of_event(event, JobKind.IMPORT)
    assert not isinstance(error.value, AirflowException)


def test_events():
    assert job_of_event({"status": "ended", "job_id": "abc", "state": "SUCCESSFUL"}, JobKind.IMPORT) == "abc"
    with pytest.raises(errors.IdmcTimeoutError, match=r"import job abc was still QUEUED.*goes on"):
        job_of_event({"status": "timeout", "job_id": "abc", "state": "QUEUED"}, JobKind.IMPORT)
    with pytest.raises(errors.IdmcTimeoutError, match="could not be asked"):
        job_of_event({"status": "timeout", "job_id": "abc", "state": None}, JobKind.EXPORT)
    with pytest.raises(errors.IdmcTimeoutError, match=r"still QUEUED at the deadline.*failed: no route to host$"):
        job_of_event(
            {"status": "timeout", "job_id": "abc", "state": "QUEUED", "message": "no route to host"}, JobKind.EXPORT
        )
    with pytest.raises(errors.IdmcError, match="HTTP 404") as error:
        job_of_event({"status": "refused", "job_id": "abc", "message": "HTTP 404"}, JobKind.EXPORT)
    assert not error.value.transient
    with pytest.raises(RuntimeError, match="KeyError: 'x'"):
        job_of_event({"status": "error", "job_id": "abc", "message": "KeyError: 'x'"}, JobKind.EXPORT)


def tasks(job_id: str, **arguments):
    """Everything that waits for a job, waiting for one that runs already."""
    return {
        "start": lambda: InfaStartImportOperator(
            task_id="t", infa_conn_id="infa_test", import_job_id=job_id, wait_for_completion=True, poll_interval=0.05,
            **arguments,
        ),
        "sensor": lambda: InfaImportSensor(
            task_id="t", infa_conn_id="infa_test", import_job_id=job_id, poke_interval=0.05, **arguments
        ),
    }  # fmt: skip


@pytest.mark.parametrize("event", GARBAGE)
def test_no_task_goes_on_after_such_an_event(sim, context, event):
    export = {"infa_conn_id": "infa_dev", "task_id": "t"}
    for make in (
        *tasks("x").values(),
        lambda: InfaExportSensor(export_job_id="x", **export),
        lambda: InfaExportOperator(objects=["x"], **export),
    ):
        with pytest.raises(RuntimeError):
            make().resume_execution("execute_complete", {"event": event}, context)
    assert sim.requests("dev") == sim.requests("test") == []


# --- deferral ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["start", "sensor"])
def test_a_task_looks_once_before_it_defers(promotion, ready_import, run, context, which):
    # A job that has ended costs no round trip through the triggerer.
    job_id = ready_import()
    assert run(tasks(job_id, deferrable=True)[which])
    assert run.deferrals == []
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    promotion.sim.clear_requests()
    with pytest.raises(TaskDeferred) as deferred:
        tasks(job_id, deferrable=True, execution_timeout=timedelta(seconds=500))[which]().execute(context)
    assert promotion.calls("test", "GET", f"/import/{job_id}$")
    trigger = deferred.value.trigger
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_infa.triggers.jobs.InfaJobTrigger"
    assert arguments == {
        "infa_conn_id": "infa_test",
        "kind": "import",
        "job_id": job_id,
        "poll_interval": 0.05,
        "deadline": pytest.approx(time.time() + 500, abs=5),
        "carry": None,
    }
    # Airflow's own timeout only ends what our trigger no longer can.
    assert deferred.value.timeout.total_seconds() == pytest.approx(500 + BACKSTOP, abs=5)
    assert deferred.value.method_name == "execute_complete"
    assert promotion.open_sessions() == 0


@pytest.mark.parametrize("which", ["start", "sensor"])
def test_a_deferred_wait_gives_what_any_other_gives(promotion, ready_import, run, which):
    promotion.end_jobs_after_two_looks()
    job_id = ready_import()
    deferred, xcom = run(tasks(job_id, deferrable=True)[which]), dict(run.xcom)
    assert len(run.deferrals) == 1
    assert run.events[0]["status"] == "ended"
    run.xcom.clear()
    assert run(tasks(job_id, deferrable=False)[which]) == deferred
    assert run.xcom == xcom
    assert len(run.deferrals) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_timeout_of_an_operator_is_left_to_its_retries(promotion, ready_import, run, deferrable):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    began = time.monotonic()
    with pytest.raises(errors.IdmcTimeoutError, match=f"{job_id} was still IN_PROGRESS"):
        run(tasks(job_id, deferrable=deferrable, timeout=0.5)["start"])
    assert time.monotonic() - began < 5
    assert promotion.open_sessions() == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_execution_timeout_ends_the_wait_of_an_operator(promotion, ready_import, run, deferrable):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    arguments = {"timeout": 3600, "execution_timeout": timedelta(seconds=0.5)}
    with pytest.raises(errors.IdmcTimeoutError):
        run(tasks(job_id, deferrable=deferrable, **arguments)["start"])


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_log_that_cannot_be_fetched_does_not_hide_the_failure(promotion, ready_import, context):
    promotion.sim.add_fault("test", {"kind": "fail_job", "message": "The real failure."})
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": "/log$"})
    job_id = ready_import()
    with (
        pytest.raises(errors.IdmcJobFailedError, match="The real failure"),
        InfaHook("infa_test") as hook,
    ):
        conclude(context, hook, JobKind.IMPORT, job_id, fail_on_warning=True)


def test_a_success_needs_no_log(promotion, ready_import, context):
    job_id = ready_import()
    with InfaHook("infa_test") as hook:
        summary = conclude(context, hook, JobKind.IMPORT, job_id, fail_on_warning=True)
    assert summary["counts"]["objects"] == len(context["ti"].xcom["objects"]) == 11
    assert promotion.calls("test", "GET", "/log$") == []
