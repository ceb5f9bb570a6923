"""The import resource: upload, start, state, log."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import (
    errors,
    import_job,
    import_spec,
    joblog,
    jobs,
    schema,
    uploads,
    wire,
)
from airflow_provider_infa.simulator.exports import expanded, query_flag
from airflow_provider_infa.simulator.gate import ORG, session
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.unpack import Package, read_package

_URI = "/saas/public/core/v3/import"


def routes() -> list[web.RouteDef]:
    """Return the routes of the import resource."""
    return [
        web.post(_URI + "/package", upload),
        web.post(_URI + "/{id}", start),
        web.get(_URI + "/{id}", state),
        web.get(_URI + "/{id}/log", log),
    ]


class ImportJob(Job):
    """An import job with the package that it was uploaded with."""

    contents: Package

    def answer(self, view: dict[str, Any]) -> dict[str, Any]:
        """Return a job's view with the two fields that imports have besides."""
        return view | {"sourceOrgId": self.source_org_id, "checksumValid": self.checksum_valid}


async def upload(request: web.Request) -> web.Response:
    """POST /import/package: the job's id exists from here on, before the job starts.

    A parameter ``relaxChecksum`` is taken from the query, where clients put it; the docs name no place.
    """
    org = request.app[ORG]
    relax = query_flag(request, "relaxChecksum")
    job = ImportJob("import", jobs.default_name(), session().user)
    package = org.folder / f"{job.id}.zip"
    try:
        job.package_sha256 = await uploads.receive(request, package)
        job.contents = await asyncio.to_thread(read_package, package, relax=relax)
    finally:
        # What it holds is known now, and nobody can fetch it again.
        package.unlink(missing_ok=True)
    job.source_org_id = job.contents.source_org_id
    job.checksum_valid = job.contents.checksum_valid
    org.jobs.add(job)
    return web.json_response(
        {
            "jobId": job.id,
            "jobStatus": {"state": job.state, "message": job.message},
            "checksumValid": job.checksum_valid,
        }
    )


async def start(request: web.Request) -> web.Response:
    """POST /import/{id} (Informatica docs: Starting an import job).

    A second start is refused (chosen: not documented). In the answer ``createTime`` is the moment of the
    upload, rounded as stored values are (captured in infapy docs, 2021).
    """
    org = request.app[ORG]
    user = session().user
    job = _job(org, request)
    job.start_requests += 1
    if "import" not in org.users[user].privileges:
        raise errors.no_privilege()
    body = await schema.read_json(request, import_spec.BODY)
    if job.state != jobs.NOT_STARTED:
        raise errors.already_started(job.id)
    specification = import_spec.fit(body.get("importSpecification", {}), job.contents, org.assets)
    fate = org.faults.strike_job(request.method, request.path)
    job.name, job.user, job.specification = body.get("name", job.name), user, body
    org.jobs.start(
        job,
        None if "never_end" in fate else org.settings.import_seconds,
        partial(import_job.run, org, package=job.contents, specification=specification, fate=fate),
    )
    view = job.answer(job.view(wire.millis))
    return web.json_response(view | {"createTime": wire.rounded(job.created)})


async def state(request: web.Request) -> web.Response:
    """GET /import/{id}: answers for an uploaded job that has not started, too (recorded in client code)."""
    job = _job(request.app[ORG], request)
    return web.json_response(job.answer(job.view(wire.rounded, expand=expanded(request))))


async def log(request: web.Request) -> web.Response:
    """GET /import/{id}/log; of a running job the head only, before the start nothing (chosen: not
    documented).
    """
    org = request.app[ORG]
    job = _job(org, request)
    text = job.log or (joblog.head(job, org.name) if job.started else "")
    return web.Response(text=text)


def _job(org: Org, request: web.Request) -> ImportJob:
    job = org.jobs.get("import", request.match_info["id"])
    if not isinstance(job, ImportJob):
        raise TypeError(f"{job.id} is no import job")
    return job
