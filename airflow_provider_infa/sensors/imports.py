"""Waiting for an import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.sensors.jobs import InfaJobSensor


class InfaImportSensor(InfaJobSensor):
    """
    Wait until an import job has ended, and fail if it failed.

    Takes what every sensor takes: ``poke_interval`` (10 s by default), ``timeout``, ``mode``, ``soft_fail`` and so on.
    A failed job fails the task with the job's message, the failed objects with theirs, and the job's log in the log of
    the task; ``soft_fail`` skips the task only when the job is still running at the timeout.

    :param import_job_id: Import job id.
    :param fail_on_warning: Whether a job that ended with a warning failed.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the org that runs the job.
    :return: ``{id, name, state, message, counts, failed}``. XCom ``objects`` holds a row for each object.
    """

    kind = JobKind.IMPORT
    job_id_attr = "import_job_id"
    template_fields: Sequence[str] = ("import_job_id", *InfaJobSensor.template_fields)

    def __init__(self, *, import_job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.import_job_id = import_job_id
