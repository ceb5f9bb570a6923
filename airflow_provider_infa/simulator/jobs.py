"""Export and import jobs: they run by the clock and take effect once, at their end."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_infa.simulator import errors, wire

NOT_STARTED = "NOT_STARTED"
IN_PROGRESS = "IN_PROGRESS"
SUCCESSFUL = "SUCCESSFUL"
WARNING = "WARNING"
FAILED = "FAILED"

# Does the work of a job; is told the moment at which the job ends.
Effect = Callable[["Job", datetime], Awaitable[None]]


@dataclass
class Job:
    """One export or import.

    ``effect`` does the work when the job's time has come, and sets state, message, rows and log.
    ``starts`` counts the starts that were processed, ``start_requests`` those that arrived.
    """

    kind: str
    name: str
    user: str
    id: str = field(default_factory=wire.new_id)
    created: datetime = field(default_factory=wire.now)
    updated: datetime = field(default_factory=wire.now)
    started: datetime | None = None
    ended: datetime | None = None
    state: str = NOT_STARTED
    message: str | None = None
    rows: list[dict[str, Any]] | None = None
    log: str = ""
    package: Path | None = None
    package_sha256: str | None = None
    checksum_valid: bool | None = None
    source_org_id: str | None = None
    specification: dict[str, Any] | None = None
    starts: int = 0
    start_requests: int = 0
    effect: Effect | None = None

    def start(self, seconds: float | None, effect: Effect) -> None:
        """Set the job running; it ends after so many seconds, or never for None. See :meth:`JobBook.start`."""
        self.started = wire.now()
        self.updated = wire.now()
        self.state, self.message = IN_PROGRESS, "In Progress"
        self.starts += 1
        self.effect = effect
        self.ended = None if seconds is None else self.started + timedelta(seconds=seconds)

    async def finish(self) -> None:
        """Do the job's work, once."""
        effect, self.effect = self.effect, None
        if effect is None or self.ended is None:
            return
        self.updated = self.ended
        try:
            await effect(self, self.ended)
        except Exception as error:
            self.state, self.message = FAILED, f"{type(error).__name__}: {error}"
            raise

    def view(self, moments: Callable[[datetime], str], *, expand: bool = False) -> dict[str, Any]:
        """Return the fields that export and import answers share.

        :param moments: how to write moments: :func:`wire.millis` in the start's answer, :func:`wire.rounded`
            later.
        :param expand: whether to show the objects; null while the job runs (chosen: not documented).
        """
        over = self.state not in (NOT_STARTED, IN_PROGRESS)
        return {
            "id": self.id,
            "createTime": moments(self.created),
            "updateTime": moments(self.updated),
            "name": self.name,
            "startTime": moments(self.started) if self.started else None,
            "endTime": moments(self.ended) if self.ended and over else None,
            "status": {"state": self.state, "message": self.message},
            "objects": self.rows if expand and over else None,
        }


class JobBook:
    """All jobs of one org."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        # What runs, by its end: every request asks whether a job is over, and there may be thousands.
        self._ends: list[tuple[datetime, int, Job]] = []
        self._starts = itertools.count()

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def add(self, job: Job) -> Job:
        """Keep a job; jobs are never forgotten (retention: not documented)."""
        self._jobs[job.id] = job
        return job

    def get(self, kind: str, id_: str) -> Job:
        """Return a job.

        :raises ApiError: 404 if this org has no such job of this kind.
        """
        job = self._jobs.get(id_)
        if job is None or job.kind != kind:
            raise errors.not_found(f"The {kind} job {id_}")
        return job

    def start(self, job: Job, seconds: float | None, effect: Effect) -> None:
        """Set a job running; see :meth:`Job.start`."""
        job.start(seconds, effect)
        if job.ended is not None:
            heapq.heappush(self._ends, (job.ended, next(self._starts), job))

    def is_due(self, moment: datetime) -> bool:
        """Tell whether the time of a running job is over."""
        return bool(self._ends) and self._ends[0][0] <= moment

    def take_due(self) -> Job:
        """Return the job that ends first, for somebody to finish it now."""
        return heapq.heappop(self._ends)[2]


def default_name() -> str:
    """Return the name of a job that was given none (Informatica docs: Starting an export job)."""
    return f"job-{time.time_ns() // 1_000_000}"
