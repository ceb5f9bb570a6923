"""What exports, imports and publishing have in common: a job that is looked at until it ends, and its log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcJobFailedError, IdmcTimeoutError
from airflow_provider_infa.idmc.models import CONNECTION, RUNTIME_ENVIRONMENT, Job, JobKind, JobState, same_type
from airflow_provider_infa.idmc.policy import next_poll
from airflow_provider_infa.idmc.publish import PUBLISH_KINDS, get_publish, publish_state_call, read_publish
from airflow_provider_infa.idmc.session import Api, Session

log = logging.getLogger(__name__)

#: What a user is told when a task or a wait is stopped; takes kind and id of the job.
NOT_CANCELLED = "The wait was stopped. IDMC has no call to cancel a job: %s job %s goes on."

#: Seconds without a byte from the server when a job is started. An export with many objects and tags was seen to take
#: more than a minute before the first header (change notes of iics-cli, 2026). Cut off earlier, nobody learns the id of
#: an export, and an import that IDMC still takes in might be started twice.
START_READ_TIMEOUT = 300.0

#: Failed objects named in an error; the rest is in the results.
SHOWN = 20

#: ``> OIE_008 ERROR <time> Object [/SYS/ora] of type [Connection] id [1B8w] is missing the following dependencies``,
#: then the missing ones as ``[name//SYS]``. Seen in a comment of 2024-03-15 on Informatica's page "Starting an import
#: job". Matched within one entry of the log, up to the next code. Nothing reaches over a bracket, or a long log would
#: take for ever.
_OBJECT = re.compile(r"Object \[(?P<object>[^\[\]]*)\] of type \[(?P<type>[^\[\]]*)\]")
_NAME = re.compile(r"\[([^\[\]/]+)//([^\[\]]*)\]")


def get_job(session: Session, kind: JobKind, job_id: str, *, expand_objects: bool = False) -> Job:
    """
    Ask for a job's state.

    :param session: Session with the org that runs the job.
    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param expand_objects: Also ask what it did with each object.
    :raises IdmcNotFoundError: If the org has no such job.
    """
    check_job_id(kind, job_id)
    if kind in PUBLISH_KINDS:
        return get_publish(session, kind, job_id, expand_objects=expand_objects)
    params = {"expand": "objects"} if expand_objects else None
    return read_job(kind, job_id, session.get_json(job_path(kind, job_id), params))


def start_timeout(session: Session) -> float:
    """Seconds without a byte that the start of a job may take. :param session: Session with the org."""
    return max(START_READ_TIMEOUT, session.settings.read_timeout)


def state_call(kind: JobKind, job_id: str) -> tuple[str, Api, str]:
    """
    Where to GET a job's state: path, interface, and the kind of JSON to ask for.

    :param kind: What kind of job it is.
    :param job_id: Job id.
    """
    check_job_id(kind, job_id)
    if kind in PUBLISH_KINDS:
        return publish_state_call(kind, job_id)
    return job_path(kind, job_id), Api.V3, "application/json"


def read_job(kind: JobKind, job_id: str, answer: Any) -> Job:
    """
    Read a job's state.

    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param answer: The answer to :func:`state_call`.
    """
    return read_publish(answer, job_id) if kind in PUBLISH_KINDS else Job.from_wire(answer, f"the {kind.value} job")


def get_log(session: Session, kind: JobKind, job_id: str) -> str:
    """The job's log as text; publish jobs have none. See :func:`get_job` for the parameters."""
    if kind in PUBLISH_KINDS:
        return ""
    return session.get_text(f"{job_path(kind, job_id)}/log")


def job_path(kind: JobKind, job_id: str) -> str:
    """Path of an export or import job below ``/public/core/v3``."""
    check_job_id(kind, job_id)
    return f"/{kind.value}/{quote(job_id, safe='')}"


def check_job_id(kind: JobKind, job_id: str) -> None:
    """
    Refuse an id that is none: an empty one would turn the path of a job into that of another resource.

    :raises IdmcInputError: If it is empty.
    """
    if not job_id or not isinstance(job_id, str):
        raise IdmcInputError(f"The {kind.value} job id is {job_id!r}; it must be the id that IDMC gave to the job.")


def wait(
    session: Session,
    kind: JobKind,
    job_id: str,
    *,
    deadline: float,
    poll_interval: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Job:
    """
    Look at a job until it has ended.

    :param session: Session with the org that runs the job.
    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param deadline: Wall-clock time, in seconds since the epoch, after which the wait is given up.
    :param poll_interval: Seconds between two looks, once the job has run for a while.
    :raises IdmcTimeoutError: If the job still runs at the deadline.
    """
    polls = 0
    word = None
    while True:
        job = get_job(session, kind, job_id)
        if job.state.is_end:
            return job
        if job.word != word:
            log.info("%s job %s is %s.", kind.value.capitalize(), job_id, job.shown)
            word = job.word
        polls += 1
        left = deadline - clock()
        if left <= 0:
            raise still_running(kind, job_id, job.word)
        sleep(min(next_poll(polls, poll_interval), left))


def still_running(kind: JobKind, job_id: str, word: str | None, trouble: str | None = None) -> IdmcTimeoutError:
    """
    The error for a wait that reached its deadline.

    :param kind: What kind of job it is.
    :param job_id: Job id.
    :param word: Last state seen, if any.
    :param trouble: What the last look met, if it failed.
    """
    seen = f"was still {word}" if word else "could not be asked for its state"
    return IdmcTimeoutError(
        f"The {kind.value} job {job_id} {seen} at the deadline. It goes on in IDMC, which has no call to cancel it; "
        "clear the task to wait for it again." + (f" The last look at it failed: {trouble}" if trouble else "")
    )


def check_outcome(job: Job, kind: JobKind, org: str, *, fail_on_warning: bool, log_text: str) -> None:
    """
    Tell success from failure.

    :param job: A job that has ended, with its objects.
    :param kind: What kind of job it is.
    :param org: Name of the org, for the message.
    :param fail_on_warning: Whether a job that ended with a warning failed.
    :param log_text: The job's log, for the explanation.
    :raises IdmcJobFailedError: With the job's message, the failed objects with theirs, and what to do.
    """
    outcome = job.outcome
    if outcome is JobState.SUCCESSFUL or (outcome is JobState.WARNING and not fail_on_warning):
        return
    lines = [f"The {kind.value} job {job.id} in org {org} ended {job.word}: {job.message or 'without a message'}"]
    for result in job.failed[:SHOWN]:
        lines.append(f"  {result.type} {result.path}: {result.word}: {result.message or 'no message'}")
    if len(job.failed) > SHOWN:
        lines.append(f"  ... and {len(job.failed) - SHOWN} more failed objects")
    lines += explain(log_text, org)
    if outcome is JobState.WARNING:
        lines.append("Set fail_on_warning=False to take a warning for a success.")
    raise IdmcJobFailedError("\n".join(lines))


def explain(log_text: str, org: str) -> list[str]:
    """
    What a job log says about missing dependencies (OIE_008), and the argument that maps each.

    :param log_text: The job's log.
    :param org: Name of the target org.
    """
    lines: dict[str, None] = {}
    for entry in re.split(r"(?=\bOIE_\d{3}\b)", log_text):
        head, _, names = entry.partition("dependencies")
        if not entry.startswith("OIE_008") or not (match := _OBJECT.search(head)):
            continue
        for name, place in _NAME.findall(names):
            need = f"OIE_008: {match['type']} {match['object']} needs {name!r}, which org {org} does not have."
            if place == "SYS":
                # A connection depends on its runtime environment; for anything else it may be either.
                is_connection = same_type(match["type"], CONNECTION)
                argument = "runtime_environments" if is_connection else "connections or runtime_environments"
                lines[f"{need} Map it when planning the import: {argument}={{{name!r}: '<name in {org}>'}}."] = None
            else:
                lines[f"{need} Export it too: it lies in {place}."] = None
    return list(lines)


def mapping_argument(type: str) -> str:
    """The argument of a plan that maps objects of a type. :param type: Type of the object."""
    if same_type(type, RUNTIME_ENVIRONMENT):
        return "runtime_environments"
    return "connections" if same_type(type, CONNECTION) else "projects"
