"""What the sensors of exports and imports have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcError, IdmcTimeoutError
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.waiting import Stoppable, conclude, deadline_after, defer, failing_for_good, job_of_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class InfaJobSensor(Stoppable, BaseSensorOperator):
    """
    Wait for a job to end; fails if the job failed, also with ``soft_fail``, which covers only the timeout.

    ``silent_fail`` covers what may pass. ``never_fail`` skips the task whatever a look raises, deferred or not.

    :param fail_on_warning: Whether a job that ended with a warning failed.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the org that runs the job.
    """

    kind: ClassVar[JobKind]
    #: Name of the attribute that holds the job id.
    job_id_attr: ClassVar[str]
    template_fields: Sequence[str] = ("infa_conn_id", "fail_on_warning")

    def __init__(
        self,
        *,
        fail_on_warning: bool | str = True,
        poke_interval: float = 10.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.infa_conn_id = infa_conn_id
        self.fail_on_warning = fail_on_warning
        self.deferrable = deferrable
        self._hook: InfaHook | None = None
        self._word: str | None = None

    def execute(self, context: Context) -> Any:
        with InfaHook(self.infa_conn_id) as self._hook:
            if not self.deferrable:
                return super().execute(context)
            with self._judging():
                if isinstance(result := self.poke(context), PokeReturnValue):
                    return result.xcom_value
                deadline = deadline_after(float(self.timeout), self.execution_timeout)
                defer(
                    self,
                    self.infa_conn_id,
                    self.kind,
                    self._job_id,
                    poll_interval=float(self.poke_interval),
                    deadline=deadline,
                )

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once; the job's summary if it has ended."""
        hook = self._hook or InfaHook(self.infa_conn_id)
        with self._judging():
            # Read before anything is sent: a slip in an argument must not show only when the job has ended.
            arguments.seconds(self.poke_interval, "poke_interval")
            arguments.flag(self.fail_on_warning, "fail_on_warning")
            self.awaited = self.kind, self._job_id
            job = hook.get_job(self.kind, self._job_id)
            if not job.state.is_end:
                if job.word != self._word:
                    self.log.info("%s job %s is %s.", self.kind.value.capitalize(), job.id, job.shown)
                    self._word = job.word
                return False
            self.awaited = None
            return PokeReturnValue(is_done=True, xcom_value=self._conclude(context, hook, job.id))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the deferral."""
        with self._judging(), InfaHook(self.infa_conn_id) as hook:
            try:
                job_id = job_of_event(event, self.kind)
            except IdmcTimeoutError as error:
                # The exception that Airflow knows as a sensor's timeout: never retried, skipped with soft_fail.
                raise AirflowSensorTimeout(str(error)) from error
            return self._conclude(context, hook, job_id)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Let errors leave a look as what Airflow is to make of them."""
        try:
            with failing_for_good(soft_fail=self.soft_fail):
                yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if isinstance(error, IdmcError) and not error.transient:
                # Else Airflow pokes on: until a wrong password has locked the account, or a failed import is a skip.
                self.silent_fail = False
            if self.never_fail and self.deferrable:  # Airflow applies it to pokes alone
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    @property
    def _job_id(self) -> str:
        return arguments.text(getattr(self, self.job_id_attr)) or ""

    def _conclude(self, context: Context, hook: InfaHook, job_id: str) -> dict[str, Any]:
        warning = arguments.flag(self.fail_on_warning, "fail_on_warning")
        return conclude(context, hook, self.kind, job_id, fail_on_warning=warning)
