"""The text logs of jobs, word for word as captured (infapy docs, 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_infa.simulator import wire
from airflow_provider_infa.simulator.jobs import Job


def head(job: Job, org_name: str) -> str:
    """Return the first lines, which a running job shows already."""
    started = job.started or job.created
    return "\n".join(
        [
            line("OIE_002", "INFO", started, f"Starting {job.kind} operation."),
            "Execution Client: API",
            f"Job Name: {job.name}",
            f"Organization: {org_name}",
            f"RequestId: {job.id}",
            f"User: {job.user}",
            "",
        ]
    )


def whole(job: Job, org_name: str, source_org_name: str, lines: Iterable[str]) -> str:
    """Return the log of a job that has ended.

    :param lines: what happened to single objects.
    """
    started, ended = job.started or job.created, job.ended or job.updated
    tail = [
        line("OIE_003", "INFO", ended, f"Finished {job.kind} operation."),
        f"Job Name: {job.name}",
        f"Start Time: {_clock(started)}",
        f"End Time: {_clock(ended)}",
        f"Started by: {job.user}",
        "Start Method: API",
        f"Source Organization: {source_org_name}",
        f"Status: {job.state}",
        "",
    ]
    return head(job, org_name) + "\n".join([*lines, *tail])


def line(code: str, level: str, moment: datetime, text: str) -> str:
    """Return one line that carries a code."""
    return f"> {code} {level} {wire.millis(moment)} {text}"


def _clock(moment: datetime) -> str:
    """Write a moment as ``9/26/21 9:06 AM``."""
    return f"{moment.month}/{moment.day}/{moment:%y} {moment.hour % 12 or 12}:{moment:%M %p}"
