"""Waiting for a job and telling how it ended: the one way that operators and sensors, deferred or not, share."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_infa.hooks.infa import InfaHook, entered
from airflow_provider_infa.idmc.errors import IdmcError, IdmcJobFailedError
from airflow_provider_infa.idmc.jobs import NOT_CANCELLED, check_outcome, still_running, wait
from airflow_provider_infa.idmc.models import Job, JobKind, JobState
from airflow_provider_infa.triggers.jobs import InfaJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

log = logging.getLogger(__name__)

#: Seconds after our own deadline at which Airflow ends a deferral, should the trigger be gone.
BACKSTOP = 60.0


class Stoppable:
    """What all tasks have in common that hold a session on a worker: stopped, they say what goes on, and log out."""

    #: The job that the task waits for on the worker.
    awaited: tuple[JobKind, str] | None = None

    def on_kill(self) -> None:
        """
        Cancel nothing, as IDMC has no call for it, and leave the ``with`` blocks that log out and remove files.

        Airflow 2 raises an exception of its own right after this. Airflow 3 does not, and kills the process five
        seconds later. It lets the task's retries apply to this exception, as the worker may be stopping, not the task.
        """
        if self.awaited:
            kind, job_id = self.awaited
            log.warning(NOT_CANCELLED, kind.value, job_id)
        # After a timeout there is nothing left to leave, and that is what is to be reported.
        if AIRFLOW_V_3_0_PLUS and entered:
            raise SystemExit(128 + signal.SIGTERM)


class InfaJobFailedError(IdmcJobFailedError, AirflowFailException):
    """A job failed, and a retry would only look at the same failed job again."""


@contextmanager
def failing_for_good(*, soft_fail: bool = False, job_is_retried: bool = False) -> Iterator[None]:
    """
    Let errors that a retry can't fix fail the task at once.

    :param soft_fail: Of a sensor. Airflow would turn the exception for that into a skip, and neither a wrong password
        nor a failed import must look like one; so the error itself is raised, and the task's retries apply.
    :param job_is_retried: Whether a retry of the task runs another job, so that a failed one can be made good by it.
    """
    try:
        yield
    except IdmcJobFailedError as error:
        if job_is_retried or soft_fail:
            raise
        raise InfaJobFailedError(str(error)) from None
    except IdmcError as error:
        if error.transient or soft_fail:
            raise
        raise AirflowFailException(str(error)) from error


def deadline_after(timeout: float, execution_timeout: timedelta | None) -> float:
    """
    Wall-clock time at which a wait that begins now ends.

    Airflow 3 no longer ends a deferral after ``execution_timeout``, so it is part of the deadline.

    :param timeout: Seconds to wait at most.
    :param execution_timeout: Of the task.
    """
    bounds = [timeout] if execution_timeout is None else [timeout, execution_timeout.total_seconds()]
    return time.time() + min(bounds)


def wait_for_job(
    operator: BaseOperator,
    hook: InfaHook,
    kind: JobKind,
    job_id: str,
    *,
    poll_interval: float,
    deadline: float,
    deferrable: bool,
    resume: str = "execute_complete",
    carry: dict[str, Any] | None = None,
) -> None:
    """
    Return when the job has ended; or, if deferrable, leave the worker until then.

    :param operator: The task, which is :class:`Stoppable`.
    :param hook: Hook of the org that runs the job.
    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param poll_interval: Seconds between two looks once the job has run for a while.
    :param deadline: Wall-clock time at which the wait ends, from :func:`deadline_after`.
    :param deferrable: Whether to defer.
    :param resume: Method of the task that goes on after a deferral.
    :param carry: What that method finds in the event, under ``carry``: plain JSON, and little of it.
    :raises IdmcTimeoutError: If the job still runs at the deadline.
    """
    operator.awaited = kind, job_id
    if not deferrable:
        wait(hook.get_conn(), kind, job_id, deadline=deadline, poll_interval=poll_interval)
    elif not hook.get_job(kind, job_id).state.is_end:
        defer(
            operator,
            hook.infa_conn_id,
            kind,
            job_id,
            poll_interval=poll_interval,
            deadline=deadline,
            resume=resume,
            carry=carry,
        )
    operator.awaited = None


def defer(
    operator: BaseOperator,
    infa_conn_id: str,
    kind: JobKind,
    job_id: str,
    *,
    poll_interval: float,
    deadline: float,
    resume: str = "execute_complete",
    carry: dict[str, Any] | None = None,
) -> NoReturn:
    """Leave the worker until the job has ended or the deadline has passed; see :func:`wait_for_job`."""
    operator.defer(
        trigger=InfaJobTrigger(infa_conn_id, kind.value, job_id, poll_interval, deadline, carry),
        method_name=resume,
        timeout=timedelta(seconds=max(0.0, deadline - time.time()) + BACKSTOP),
    )
    raise AssertionError("defer never returns")


def job_of_event(event: dict[str, Any] | None, kind: JobKind) -> str:
    """
    The job that a trigger waited for, if it ended.

    :param event: What the trigger yielded.
    :param kind: What kind of job it is.
    :raises IdmcTimeoutError: If it still ran at the deadline.
    :raises AirflowFailException: If IDMC's answer showed that waiting is pointless.
    :raises RuntimeError: If the trigger failed, or the event is none of ours.
    """
    event = event if isinstance(event, dict) else {"message": f"{event!r:.200} is no event of ours"}
    status, job_id = event.get("status"), event.get("job_id")
    if status == "ended" and job_id:
        return str(job_id)
    if status == "timeout" and job_id:
        raise still_running(kind, str(job_id), event.get("state"), event.get("message"))
    if status == "refused":
        raise IdmcError(str(event.get("message")))
    raise RuntimeError(f"Waiting for {kind.value} job {job_id} failed: {event.get('message') or event!r}")


def conclude(context: Context, hook: InfaHook, kind: JobKind, job_id: str, *, fail_on_warning: bool) -> dict[str, Any]:
    """
    Show what a job that has ended did, object by object, and fail if that is a failure.

    Pushes the rows of all objects to XCom under ``objects``.

    :param context: Of the task.
    :param hook: Hook of the org that ran the job.
    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param fail_on_warning: Whether a job that ended with a warning failed.
    :return: Its summary.
    :raises IdmcJobFailedError: If it failed.
    """
    job = hook.get_job(kind, job_id, expand=True)
    summary = job.summary()
    _show(job, kind, hook.org_name, summary["counts"])
    context["ti"].xcom_push(key="objects", value=[result.row() for result in job.objects or ()])
    log_text = ""
    if job.outcome is not JobState.SUCCESSFUL:
        log_text = _job_log(hook, kind, job_id)
    check_outcome(job, kind, hook.org_name, fail_on_warning=fail_on_warning, log_text=log_text)
    return summary


def _show(job: Job, kind: JobKind, org: str, counts: dict[str, int]) -> None:
    numbers = ", ".join(f"{number} {name}" for name, number in counts.items() if number and name != "objects")
    log.info(
        "%s job %s in org %s ended %s: %s. %d objects%s.",
        kind.value.capitalize(),
        job.id,
        org,
        job.word,
        job.message or "without a message",
        counts["objects"],
        f": {numbers}" if numbers else "",
    )
    if job.objects:
        log.info("::group::Objects of %s job %s", kind.value, job.id)
        for result in job.objects:
            did = result.done or result.message or ""
            moved = f" -> {result.target_path}" if result.target_path not in (None, result.path) else ""
            log.info("%-11s %-12s %-12s %s%s", result.word, did, result.type, result.path, moved)
        log.info("::endgroup::")


def _job_log(hook: InfaHook, kind: JobKind, job_id: str) -> str:
    try:
        text = hook.get_job_log(kind, job_id)
    except IdmcError as error:
        # The failure to be reported is the job's, not that of fetching its log.
        log.warning("The log of %s job %s could not be fetched: %s", kind.value, job_id, error)
        return ""
    if not text:
        return ""
    log.info("::group::Log of %s job %s", kind.value, job_id)
    for line in text.splitlines():
        log.info("%s", line)
    log.info("::endgroup::")
    return text
