"""What the operators that start a job have in common: waiting for it, or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.waiting import (
    Stoppable,
    conclude,
    deadline_after,
    failing_for_good,
    job_of_event,
    wait_for_job,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Objects in one export or import that Informatica recommends at most (page "Exporting objects").
RECOMMENDED_OBJECTS = 1000


class InfaJobOperator(Stoppable, BaseOperator):
    """
    Start a job, and wait for it if asked to.

    Subclasses implement :meth:`start`, and :meth:`finish` if more is to be done when the job has ended; what these
    need besides the job is theirs.

    :param name: Name of the job in IDMC; by default made of DAG and run.
    :param wait_for_completion: Wait until the job has ended, and fail if it failed.
    :param poll_interval: Seconds between two looks once the job has run for a while.
    :param timeout: Seconds to wait at most.
    :param fail_on_warning: Whether a job that ended with a warning failed.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the org that runs the job.
    """

    kind: ClassVar[JobKind]
    #: Whether a retry of the task starts another job.
    retry_starts_another: ClassVar[bool] = False
    template_fields: Sequence[str] = (
        "infa_conn_id",
        "name",
        "wait_for_completion",
        "poll_interval",
        "timeout",
        "fail_on_warning",
    )

    def __init__(
        self,
        *,
        name: str | None = None,
        wait_for_completion: bool | str,
        poll_interval: float | str = 10.0,
        timeout: float | str = 3600.0,
        fail_on_warning: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.name = name
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.fail_on_warning = fail_on_warning
        self.deferrable = deferrable

    def start(self, context: Context, hook: InfaHook, name: str) -> str | None:
        """
        Start the job.

        :param context: Of the task.
        :param hook: Hook of the org.
        :param name: Name for the job.
        :return: Its id; None if there is nothing to do.
        """
        raise TypeError(f"{type(self).__name__} does not say how to start its job.")

    def execute(self, context: Context) -> Any:
        with self._failing(), InfaHook(self.infa_conn_id) as hook:
            # All arguments are read before anything is sent: a slip in one must not leave a job behind.
            waits = arguments.flag(self.wait_for_completion, "wait_for_completion")
            poll_interval = arguments.seconds(self.poll_interval, "poll_interval")
            timeout = arguments.seconds(self.timeout, "timeout")
            arguments.flag(self.fail_on_warning, "fail_on_warning")
            job_id = self.start(context, hook, arguments.text(self.name) or _name(context))
            if job_id is None or not waits:
                return job_id
            wait_for_job(
                self,
                hook,
                self.kind,
                job_id,
                poll_interval=poll_interval,
                deadline=deadline_after(timeout, self.execution_timeout),
                deferrable=self.deferrable,
            )
            return self.finish(context, hook, job_id)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the deferral."""
        with self._failing(), InfaHook(self.infa_conn_id) as hook:
            return self.finish(context, hook, job_of_event(event, self.kind))

    def finish(self, context: Context, hook: InfaHook, job_id: str) -> Any:
        """
        Do what is to be done when the job has ended: tell how, and fail if that is a failure.

        :param context: Of the task.
        :param hook: Hook of the org.
        :param job_id: Id of the job.
        :return: What the task returns.
        """
        warning = arguments.flag(self.fail_on_warning, "fail_on_warning")
        summary = conclude(context, hook, self.kind, job_id, fail_on_warning=warning)
        context["ti"].xcom_push(key="result", value=summary)
        return job_id

    def _failing(self) -> AbstractContextManager[None]:
        return failing_for_good(job_is_retried=self.retry_starts_another)


def _name(context: Context) -> str:
    """Name for a job in IDMC that leads back to the run: DAG and run id, in characters that no file system minds."""
    return re.sub(r"[^\w.-]+", "-", f"{context['dag'].dag_id}-{context['run_id']}")[:120]
