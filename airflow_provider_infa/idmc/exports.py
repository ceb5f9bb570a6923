"""Exports: start, watch, fetch the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.jobs import get_job, get_log, job_path, start_timeout
from airflow_provider_infa.idmc.models import Job, JobKind
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.transport import Download


def start_export(
    session: Session,
    ids: Sequence[str],
    *,
    name: str | None = None,
    include_dependencies: bool = True,
    include_tags: bool = True,
) -> Job:
    """
    Start an export job (Informatica's page "Starting an export job").

    When the answer is lost the start is repeated; the worst that can come of it is a second package.

    :param session: Session with the source org.
    :param ids: Ids of projects, folders and assets; a repeated one counts once.
    :param name: Name of the job; IDMC makes one up by default.
    :param include_dependencies: Also export what the objects need, in their org, to work.
    :param include_tags: Also export tags; without, they are lost on the way.
    :raises IdmcInputError: If there is nothing to export.
    """
    if not ids:
        raise IdmcInputError("There are no objects to export.")
    body: dict[str, Any] = {
        "objects": [{"id": id, "includeDependencies": include_dependencies} for id in dict.fromkeys(ids)]
    }
    if name:
        body["name"] = name
    answer = session.post_json(
        "/export",
        body,
        params={"includeTagInformation": "true"} if include_tags else None,
        read_timeout=start_timeout(session),
    )
    return Job.from_wire(answer, "the export job")


def get_export(session: Session, job_id: str, *, expand_objects: bool = False) -> Job:
    """State of an export job; see :func:`~airflow_provider_infa.idmc.jobs.get_job`."""
    return get_job(session, JobKind.EXPORT, job_id, expand_objects=expand_objects)


def get_export_log(session: Session, job_id: str) -> str:
    """Log of an export job."""
    return get_log(session, JobKind.EXPORT, job_id)


def download_package(session: Session, job_id: str, target: Path) -> Download:
    """
    Fetch the package of a finished export job into a file.

    :param session: Session with the org that ran the job.
    :param job_id: Export job id.
    :param target: File to write; it is complete, or an error is raised.
    :raises IdmcPackageError: If what arrives is no ZIP file.
    """
    return session.download(f"{job_path(JobKind.EXPORT, job_id)}/package", target)
