"""The work of a publish or unpublish job, and how such a job tells of itself.

States of single assets are those of the docs' one sample with failures (Unpublishing dependent assets).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_provider_infa.simulator import catalog, jobs, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.faults import Fault
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org

PUBLISH = "publish"
UNPUBLISH = "unpublish"
KINDS = (PUBLISH, UNPUBLISH)

SUCCESS = "SUCCESS"
WARNING = "WARNING"
ERROR = "ERROR"
NOT_FOUND = "NOT_FOUND"

_PATH = re.compile(r"Explore/(.+)\.([A-Z_]+)\.xml")
# The part of its time for which a job says that it has not started; chosen, so that clients meet the word.
_IDLE = 0.25


class PublishJob(Job):
    """A job over assets that are named by their paths."""

    paths: list[str]

    def attributes(self, state: str) -> dict[str, Any]:
        """Return the attributes that every answer has."""
        started, rows = self.started or self.created, self._shown()
        return {
            "jobState": state,
            "jobStatusDetail": self._detail(rows),
            "startedBy": self.user,
            "startDate": wire.offset(started),
            "totalCount": len(self.paths),
            "processedCount": len(rows),
        }

    def result(self) -> dict[str, Any]:
        """Return the attributes of a state's answer; single assets are shown at the end only (chosen)."""
        found = self.attributes(self._state())
        if self._is_over and self.ended is not None:
            found["endDate"] = wire.offset(self.ended)
        return found | {"itemDetail": self._shown()}

    @property
    def _is_over(self) -> bool:
        return self.state not in (jobs.NOT_STARTED, jobs.IN_PROGRESS)

    def _state(self) -> str:
        if self._is_over or self.started is None or self.ended is None:
            return self.state
        waits = (wire.now() - self.started) < (self.ended - self.started) * _IDLE
        return jobs.NOT_STARTED if waits else self.state

    def _shown(self) -> list[dict[str, Any]]:
        return self.rows or [] if self._is_over else []

    def _detail(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        if rows:
            return {"itemStateSummary": dict(Counter(row["itemState"] for row in rows))}
        # Chosen: where a job tells why it failed as a whole is not documented.
        return {"message": self.message} if self._is_over else {}


class Publisher:
    """Publishes or unpublishes assets one by one, in the given order; those that fail leave the others alone."""

    def __init__(self, org: Org, kind: str, user: str, moment: datetime, failing: Mapping[str, str]) -> None:
        self._store = org.assets
        self._kind = kind
        self._user = user
        self._moment = moment
        self._failing = failing

    def run(self, paths: list[str]) -> list[dict[str, Any]]:
        """Do the work, and return what became of the assets."""
        taskflows = {path.endswith(".TASKFLOW.xml") for path in paths}
        # Recorded by iics-cli for the taskflows of such a call; chosen: the others are not published either.
        if len(taskflows) > 1:
            fault = "AvrEntryNotFoundFault: taskflows and Application Integration assets in one request"
            return [self._row(index, path, self._find(path), ERROR, fault) for index, path in enumerate(paths)]
        return [self._one(index, path) for index, path in enumerate(paths)]

    def _one(self, index: int, path: str) -> dict[str, Any]:
        asset = self._find(path)
        if asset is None:
            return self._row(index, path, None, NOT_FOUND, "")
        problem = self._failing.get(asset.path) or self._problem(asset)
        if problem:
            return self._row(index, path, asset, ERROR, problem)
        self._store.put(replace(asset, custom_attributes=self._attributes()))
        return self._row(index, path, asset, SUCCESS, "")

    def _problem(self, asset: Asset) -> str:
        """Return why an asset cannot be published or unpublished now.

        That an asset in use cannot be unpublished is documented (Informatica docs: Unpublishing dependent
        assets); that what it uses has to be published before it is chosen from the order that the tools keep.
        """
        if asset.type not in catalog.PUBLISHED:
            return f"Assets of the type {asset.type} cannot be published."
        if self._kind == UNPUBLISH:
            users = [other for other in self._store.users_of(asset.id) if other.is_published]
            return f"The asset is used by published assets: {_names(users)}." if users else ""
        used = [other for other in self._store.many(asset.uses) if other.type in catalog.PUBLISHED]
        missing = [other for other in used if not other.is_published]
        return f"The asset uses assets that are not published: {_names(missing)}." if missing else ""

    def _attributes(self) -> dict[str, str] | None:
        if self._kind == UNPUBLISH:
            return None
        return publication(self._user, self._moment)

    def _find(self, path: str) -> Asset | None:
        match = _PATH.fullmatch(path)
        return self._store.find(match[1], match[2]) if match else None

    def _row(self, index: int, path: str, asset: Asset | None, state: str, detail: str) -> dict[str, Any]:
        """Return an entry of ``itemDetail``; one for an asset that is not there has no id (Informatica docs)."""
        moment = wire.offset(self._moment)
        return {
            "itemIndex": index,
            **({"itemGUID": asset.id} if asset else {}),
            "itemState": state,
            "itemStatusDetail": detail,
            "itemStartDate": moment,
            "itemEndDate": moment,
            "assetPath": path,
        }


def publication(user: str, moment: datetime) -> dict[str, str]:
    """Return the custom attributes of a published asset (Informatica docs: Objects; client code)."""
    return {
        "publishedBy": user,
        "publicationDate": wire.seconds(moment),
        "publicationStatus": "published",
    }


def _names(assets: list[Asset]) -> str:
    return ", ".join(f"{asset.path} [{asset.type}]" for asset in assets)


async def run(org: Org, job: Job, moment: datetime, fate: Mapping[str, Fault]) -> None:
    """Do the work of a job and write down what came of it."""
    if not isinstance(job, PublishJob):
        raise TypeError(f"{job.id} is no publish job")
    job.message = None
    if "fail_job" in fate:
        job.state, job.message, job.rows = jobs.FAILED, str(fate["fail_job"].parameters["message"]), []
        return
    failing: dict[str, str] = {}
    if "fail_publish" in fate:
        failing = fate["fail_publish"].failing(asset.path for asset in org.assets)
    job.rows = Publisher(org, job.kind, job.user, moment, failing).run(job.paths)
    job.state = _state(org, job.kind, [row["itemState"] for row in job.rows])


def _state(org: Org, kind: str, states: list[str]) -> str:
    """Return the state of a job whose assets have these states.

    For unpublishing it is documented (Informatica docs: Unpublishing dependent assets); for publishing, where
    clients meet several words, the settings say it.
    """
    failed = sum(state != SUCCESS for state in states)
    if not failed:
        return SUCCESS
    if kind == UNPUBLISH:
        return ERROR if ERROR in states else WARNING
    return org.settings.publish_failed_state if failed == len(states) else org.settings.publish_partial_state
