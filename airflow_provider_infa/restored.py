"""Restores that were made of a backup, and the steps of a promotion that must not go on after one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.backup import RESTORED
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError, IdmcRequestError, IdmcVerificationError
from airflow_provider_infa.idmc.models import Job, JobState
from airflow_provider_infa.idmc.planned import check_job
from airflow_provider_infa.storage import exists, join, read_text


def last_restore(uri: str | None) -> dict[str, Any]:
    """
    What is noted beside a backup of its last restore; nothing, if there was none.

    :param uri: Where the backup is, if there is one.
    """
    note = join(uri, RESTORED) if uri else ""
    return dict(json.loads(read_text(note))) if note and exists(note) else {}


def restore_of(hook: InfaHook, uri: str | None, job_id: str | None) -> dict[str, Any]:
    """
    What is noted of a restore that undid an import, in part or as a whole; nothing, if there was none.

    :param hook: Hook of the target org.
    :param uri: The backup that was made before the import, if there is one.
    :param job_id: The import job, if there is one.
    """
    last = last_restore(uri)
    return last if last and job_id and _undoes(hook, last, job_id) else {}


def check_import(hook: InfaHook, plan: Mapping[str, Any], backup_uri: Any, import_job_id: Any) -> None:
    """
    Refuse a step behind an import that does not belong to its plan, or that was rolled back: it would change, or
    approve, what is none of its own.

    :param hook: Hook of the target org.
    :param plan: The plan, if the step has one.
    :param backup_uri: The backup that was made before the import, if there is one.
    :param import_job_id: The import job; needed with a backup.
    :raises IdmcPlanOutdatedError: If the job was started for another plan.
    :raises IdmcVerificationError: If the backup has been restored since, in part or as a whole.
    """
    uri, job_id = arguments.text(backup_uri), arguments.text(import_job_id)
    if uri and not job_id:
        raise IdmcInputError("import_job_id is missing: name the import before which the backup was made.")
    if plan and job_id and (job := _known(hook, job_id)):
        check_job(plan["hash"], job)
    if last := restore_of(hook, uri, job_id):
        raise IdmcVerificationError(
            f"Import job {job_id} was rolled back by job {last['import_job_id']}: there is nothing left to publish, "
            "link or verify. To plan and import again, clear the tasks from plan on, or trigger a new run."
        )


def _undoes(hook: InfaHook, last: dict[str, Any], job_id: str) -> bool:
    """Whether a restore undoes this import. One by hand need not say which: a backup is for the import of one plan."""
    if last["undone"] not in (None, job_id):
        return False
    # The end is that of any restore so far. Without one, IDMC may have refused to start it: it is noted before that.
    return bool(last["complete"] or last["end_time"]) or _may_be_started(hook, last["import_job_id"])


def _may_be_started(hook: InfaHook, job_id: str) -> bool:
    """Whether a job was started, for all that is known: nothing but IDMC's word that it was not makes that sure."""
    job = _known(hook, job_id)
    return job is None or job.state is not JobState.NOT_STARTED


def _known(hook: InfaHook, job_id: str) -> Job | None:
    """An import job; None if IDMC does not tell of it."""
    try:
        return hook.get_import(job_id)
    except (IdmcNotFoundError, IdmcRequestError):
        return None
