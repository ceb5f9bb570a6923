"""The work of a source control operation: what becomes of where assets stand in source control."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_provider_infa.simulator import jobs, wire
from airflow_provider_infa.simulator.assets import Asset, SourceControl
from airflow_provider_infa.simulator.faults import Fault
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org

CHECKOUT = "checkout"
CHECKIN = "checkin"
UNDO_CHECKOUT = "undo_checkout"
CANCELLED = "CANCELLED"


class Action(Job):
    """A source control operation over some objects."""

    ids: list[str]
    commit_hash: str | None = None

    def answer(self, *, expand: bool) -> dict[str, Any]:
        """Return the operation as its resource shows it; the hash of checkins only (Informatica docs)."""
        over = self.state not in (jobs.NOT_STARTED, jobs.IN_PROGRESS)
        found: dict[str, Any] = {"id": self.id, "action": self.kind.upper()}
        if self.commit_hash:
            found["commitHash"] = self.commit_hash
        found |= {
            "startTime": wire.rounded(self.started) if self.started else None,
            "endTime": wire.rounded(self.ended) if self.ended and over else None,
            "status": {"state": self.state, "message": self.message},
        }
        if expand:
            found["objects"] = self.rows if over else None
        return found


async def run(org: Org, job: Job, moment: datetime, fate: Mapping[str, Fault]) -> None:
    """Do the work of an operation: all of it or nothing.

    So it is documented for checkouts (Informatica docs: Checking out objects), and chosen for the others.
    """
    if not isinstance(job, Action):
        raise TypeError(f"{job.id} is no source control operation")
    if "fail_job" in fate:
        job.state, job.message, job.rows = jobs.FAILED, str(fate["fail_job"].parameters["message"]), []
        return
    assets = org.assets.many(job.ids)
    problems = {asset.id: problem for asset in assets if (problem := _problem(job, asset))}
    if problems or len(assets) < len(job.ids):
        job.rows = [_row(asset, *_failure(problems.get(asset.id))) for asset in assets]
        job.state, job.message = jobs.FAILED, f"{len(problems)} of {len(job.ids)} objects failed"
        return
    if job.kind == CHECKIN:
        # 40 characters; GitHub knows the first seven, too (Informatica docs: Pulling objects).
        job.commit_hash = secrets.token_hex(20)
    for asset in assets:
        org.assets.put(_changed(org, job, asset, moment.replace(microsecond=0)))
    job.rows = [_row(asset, jobs.SUCCESSFUL, None) for asset in assets]
    job.state, job.message = jobs.SUCCESSFUL, f"{job.kind.replace('_', ' ').capitalize()} completed successfully"


def _problem(job: Job, asset: Asset) -> str | None:
    """Return why an operation cannot have an asset; the texts are chosen.

    That administrators may undo the checkouts of others is documented; the simulator has none.
    """
    control = asset.source_control
    if control is None or not control.source_controlled:
        return "The object is not source controlled."
    holder = control.checked_out_by
    if job.kind == CHECKOUT:
        return f"The object is already checked out by {holder}." if holder else None
    if holder is None:
        return "The object is not checked out."
    return None if holder == job.user else f"The object is checked out by {holder}."


def _changed(org: Org, job: Action, asset: Asset, moment: datetime) -> Asset:
    """Return an asset after an operation. Chosen: undoing a checkout brings back what was checked out."""
    control = asset.source_control or SourceControl()
    free = replace(control, checked_out_by=None, checked_out_time=None)
    if job.kind == CHECKOUT:
        org.checkouts[asset.id] = asset
        return replace(asset, source_control=replace(control, checked_out_by=job.user, checked_out_time=moment))
    before = org.checkouts.pop(asset.id, asset)
    if job.kind == UNDO_CHECKOUT:
        return replace(before, path=asset.path, tags=asset.tags, schedule=asset.schedule, source_control=free)
    done = replace(free, hash=job.commit_hash, last_checkin_by=job.user, last_checkin_time=moment)
    return replace(asset, source_control=done)


def _failure(problem: str | None) -> tuple[str, str | None]:
    return (jobs.FAILED, problem) if problem else (CANCELLED, None)


def _row(asset: Asset, state: str, message: str | None) -> dict[str, Any]:
    return {
        "target": {"id": asset.id, "path": asset.path.split("/"), "type": asset.type},
        "status": {"state": state, "message": message},
    }
