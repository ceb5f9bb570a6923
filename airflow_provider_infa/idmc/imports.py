"""Imports: upload a package, start the job exactly once, watch it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_infa.idmc.answers import expect, member, optional
from airflow_provider_infa.idmc.errors import (
    IdmcAnswerError,
    IdmcConflictError,
    IdmcError,
    IdmcInputError,
    IdmcNotFoundError,
    IdmcOutcomeUnknownError,
    IdmcPackageError,
    IdmcRequestError,
    IdmcUnavailableError,
)
from airflow_provider_infa.idmc.jobs import get_job, get_log, job_path, start_timeout
from airflow_provider_infa.idmc.models import Job, JobKind, JobState
from airflow_provider_infa.idmc.policy import SETTLE_DELAYS, START_TRIES, Kind
from airflow_provider_infa.idmc.session import Session

log = logging.getLogger(__name__)

CONFLICT_RESOLUTIONS = ("OVERWRITE", "REUSE")


def upload_package(session: Session, package: Path, *, relax_checksum: bool = False) -> str:
    """
    Upload a package; nothing in the org changes yet.

    When the answer is lost the upload is repeated; a job that is never started does nothing.

    :param session: Session with the target org.
    :param package: The ZIP file.
    :param relax_checksum: Have IDMC accept a package that was changed after the export.
    :return: Id of the import job, which waits to be started.
    :raises IdmcPackageError: If IDMC finds the checksum invalid.
    """
    # The part's name is from Informatica's page "Uploading an import package"; where relaxChecksum goes is not on
    # it, clients put it into the query.
    params = {"relaxChecksum": "true"} if relax_checksum else None
    answer = expect(
        session.upload("/import/package", package, field="package", params=params), dict, "the answer to the upload"
    )
    job_id = member(answer, "jobId", str, "the answer to the upload")
    if optional(answer, "checksumValid", bool, "the answer to the upload") is False and not relax_checksum:
        raise IdmcPackageError(
            f"IDMC finds the checksum of {package.name} invalid (import job {job_id}, not started). Export again, or "
            "upload with relax_checksum=True if the package was changed on purpose."
        )
    return job_id


def start_import(
    session: Session,
    job_id: str,
    *,
    name: str | None = None,
    import_specification: Mapping[str, Any] | None = None,
    before: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Job, bool]:
    """
    Start an import job, unless it is started already. It never runs twice: the state is asked for first, and again
    after every answer that does not tell what became of the start.

    :param session: Session with the target org.
    :param job_id: Id that the upload returned.
    :param name: Name of the job; ``job-<milliseconds>`` by default, as IDMC itself would call it.
    :param import_specification: As :func:`check_specification` describes; without it the whole package is imported by
        IDMC's default rules.
    :param before: Called when the job is found not started, right before the start is sent; it may raise to prevent it.
    :param sleep: Waits so many seconds; tests pass their own.
    :param clock: Seconds on a clock that never jumps; tests pass their own.
    :return: The job, and whether this call started it.
    :raises IdmcOutcomeUnknownError: If nobody knows whether it is started. Calling again is safe.
    """
    check_specification(import_specification)
    # One edition of Informatica's page has a default for the name, another calls it required: so it is always sent.
    body: dict[str, Any] = {"name": name or f"job-{int(time.time() * 1000)}"}
    if import_specification:
        body["importSpecification"] = dict(import_specification)
    if job := started_import(session, job_id):
        return job, False
    before()
    lost: IdmcError | None = None
    for _ in range(START_TRIES):
        try:
            return _send_start(session, job_id, body), True
        except IdmcOutcomeUnknownError as error:
            lost = error
        except IdmcRequestError as error:
            # Refused perhaps because an earlier start, or that of another worker, did arrive.
            if lost is None:
                if isinstance(error, IdmcConflictError) and (job := started_import(session, job_id)):
                    return job, False
                raise
            lost = error
        log.warning("%s. Asking for the state of import job %s before anything is sent again.", lost, job_id)
        if job := _settled(session, job_id, sleep, clock):
            return job, True
        if isinstance(lost, IdmcRequestError):
            break
    raise IdmcOutcomeUnknownError(
        f"Nobody knows whether import job {job_id} was started; IDMC says that it is not. The last answer was: {lost}",
        status=lost.status if lost else None,
        code=lost.code if lost else None,
        request_id=lost.request_id if lost else None,
    )


def _send_start(session: Session, job_id: str, body: Mapping[str, Any]) -> Job:
    path = job_path(JobKind.IMPORT, job_id)
    answer = session.post_json(path, body, kind=Kind.ONCE, read_timeout=start_timeout(session))
    try:
        return Job.from_wire(answer, "the import job")
    except IdmcAnswerError as error:
        # IDMC took the start and said something that tells nothing of the job.
        raise IdmcOutcomeUnknownError(str(error)) from None


def started_import(session: Session, job_id: str) -> Job | None:
    """
    The job, if it is started.

    That the state of an uploaded job can be asked for is known from a single script, so a refusal counts as "not
    started"; if the id is wrong, a start will be refused just the same.

    :param session: Session with the target org.
    :param job_id: Import job id.
    :raises IdmcOutcomeUnknownError: If there is no answer of IDMC's, or none that can be read.
    """
    try:
        job = get_import(session, job_id)
    except (IdmcAnswerError, IdmcUnavailableError) as error:
        told = f"Whether import job {job_id} is started could not be found out. {error}"
        raise IdmcOutcomeUnknownError(told, status=error.status) from None
    except (IdmcNotFoundError, IdmcRequestError) as error:
        log.info("IDMC does not tell the state of import job %s, so it is taken for not started: %s", job_id, error)
        return None
    return None if job.state is JobState.NOT_STARTED else job


def _settled(session: Session, job_id: str, sleep: Callable[[float], None], clock: Callable[[], float]) -> Job | None:
    """The job, if it is started once a start that may still be on its way has had the time to arrive."""
    unclear: IdmcOutcomeUnknownError | None = None
    end = clock() + sum(SETTLE_DELAYS)
    for delay in SETTLE_DELAYS:
        sleep(delay)
        try:
            if job := started_import(session, job_id):
                return job
            unclear = None
        except IdmcOutcomeUnknownError as error:
            unclear = error
            if clock() > end:
                break  # an outage, which the session has waited out for that long
    if unclear is not None:
        raise IdmcOutcomeUnknownError(f"A start was sent, and its answer was lost. {unclear}", status=unclear.status)
    return None


def get_import(session: Session, job_id: str, *, expand_objects: bool = False) -> Job:
    """State of an import job; see :func:`~airflow_provider_infa.idmc.jobs.get_job`."""
    return get_job(session, JobKind.IMPORT, job_id, expand_objects=expand_objects)


def get_import_log(session: Session, job_id: str) -> str:
    """Log of an import job."""
    return get_log(session, JobKind.IMPORT, job_id)


def check_specification(specification: Mapping[str, Any] | None) -> None:
    """
    Check an ``importSpecification`` for what IDMC would refuse or misread.

    Its fields, from Informatica's page "Starting an import job": ``defaultConflictResolution``, ``includeObjects``
    (ids in the package) and ``objectSpecification``, a list of ``sourceObjectId``, ``conflictResolution``,
    ``targetObjectId`` and ``additionalProviderFlags`` (a list of ``key`` and ``value``). Fields that are not listed
    here pass through, because the page itself leaves out the name of one (merging tags).

    :raises IdmcInputError: Naming the field and the value.
    """
    if specification is None:
        return
    if not isinstance(specification, Mapping):
        raise IdmcInputError(f"import_specification must be an object, not {type(specification).__name__}.")
    check_conflict_resolution(specification.get("defaultConflictResolution"), "defaultConflictResolution")
    include = specification.get("includeObjects")
    if include is not None and (not isinstance(include, list) or not all(isinstance(id, str) for id in include)):
        raise IdmcInputError("includeObjects must be a list of ids.")
    entries = specification.get("objectSpecification")
    if entries is None:
        return
    if not isinstance(entries, list):
        raise IdmcInputError("objectSpecification must be a list of objects.")
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry.get("sourceObjectId"):
            raise IdmcInputError(f"Each objectSpecification needs a sourceObjectId; this one has none: {entry!r}.")
        check_conflict_resolution(
            entry.get("conflictResolution"), f"conflictResolution of object {entry['sourceObjectId']}"
        )


def check_conflict_resolution(value: Any, what: str) -> None:
    """
    Check a conflict rule.

    :param value: The rule, or None.
    :param what: Where it stands, for the error.
    :raises IdmcInputError: If it is neither None, OVERWRITE nor REUSE.
    """
    if value is not None and value not in CONFLICT_RESOLUTIONS:
        raise IdmcInputError(f"{what} must be OVERWRITE or REUSE, not {value!r}.")
