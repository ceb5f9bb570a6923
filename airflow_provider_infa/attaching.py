"""Finding the job again that a try of a task started before its worker was lost; needs Airflow 3.3 or newer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_infa.idmc.errors import IdmcNotFoundError, IdmcPermissionError, IdmcRequestError
from airflow_provider_infa.idmc.models import JobKind, JobState
from airflow_provider_infa.idmc.publish import PUBLISH_KINDS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_infa.hooks.infa import InfaHook

log = logging.getLogger(__name__)

#: Key in Airflow's task state store, which belongs to one task of one run and outlives its tries. Not to be renamed: a
#: task that is being retried over an upgrade would not find its job.
KEY = "infa_jobs"


def attach_or_start(context: Context, hook: InfaHook, kind: JobKind, request: Any, start: Callable[[], str]) -> str:
    """
    Go on with the job that an earlier try of this task started for the same request, or start one.

    A job that failed, or that the org no longer knows, is not gone on with; nor is any when a task that had ended was
    cleared, as what it works on may be another by then. Below Airflow 3.3 nothing outlives a try, so there a job is
    always started.

    :param context: Of the task.
    :param hook: Hook of the org.
    :param kind: What kind of job it is.
    :param request: What is asked of IDMC, as JSON data; another request is another job.
    :param start: Starts a job and returns its id.
    :return: Id of the job.
    """
    store: Any = context.get("task_state_store")
    if store is None:
        return start()
    # Airflow raises max_tries when a task is cleared that does not run, and only then.
    told = json.dumps([context["ti"].max_tries, hook.infa_conn_id, kind.value, request], sort_keys=True)
    name = hashlib.sha256(told.encode()).hexdigest()
    jobs = store.get(KEY) or {}
    known = jobs.get(name)
    if known and _is_worth_it(hook, kind, known):
        log.info("An earlier try of this task started %s job %s for this: going on with it.", kind.value, known)
        return str(known)
    job_id = start()
    store.set(KEY, {**jobs, name: job_id})
    return job_id


def _is_worth_it(hook: InfaHook, kind: JobKind, job_id: str) -> bool:
    try:
        job = hook.get_job(kind, job_id, expand=True)
    except (IdmcNotFoundError, IdmcPermissionError, IdmcRequestError):
        return False  # nobody knows what IDMC answers about a job that it has forgotten
    # A publication that is over may have been of what an import has replaced since; another one changes nothing.
    return not job.state.is_end or (job.outcome is JobState.SUCCESSFUL and kind not in PUBLISH_KINDS)
