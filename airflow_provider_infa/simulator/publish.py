"""The publish and unpublish resources: start and state. They live beside ``/saas`` and speak JSON:API."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import hdrs, web

from airflow_provider_infa.simulator import errors, jobs, publish_job, schema, wire
from airflow_provider_infa.simulator.gate import JSON_API, ORG, session
from airflow_provider_infa.simulator.publish_job import PublishJob

_URI = "/active-bpel/asset/v1/"

# Informatica docs: Publishing taskflows in bulk; Publishing Application Integration assets in bulk.
_MOST = 199


def _body(kind: str) -> schema.Check:
    """Return the check of a start's body; its type is the operation's name (Informatica docs; iics-cli)."""
    attributes = schema.record({"assetPaths": schema.items(schema.text(), most=_MOST)})
    return schema.record({"data": schema.record({"type": schema.word(kind), "attributes": attributes})})


_BODIES = {kind: _body(kind) for kind in publish_job.KINDS}


def routes() -> list[web.RouteDef]:
    """Return the routes of both resources; a job is asked for where it was started (iics-cli)."""
    found = []
    for kind in publish_job.KINDS:
        found += [
            web.post(_URI + kind, partial(start, kind=kind)),
            web.get(_URI + kind + "/{id}", partial(whole, kind=kind)),
            web.get(_URI + kind + "/{id}/Status", partial(status, kind=kind)),
        ]
    return found


async def start(request: web.Request, *, kind: str) -> web.Response:
    """POST /publish and /unpublish: 202 and the job that has not started yet (Informatica docs: Publish)."""
    org = request.app[ORG]
    user = session().user
    _check_accept(request)
    if request.content_type != JSON_API:
        raise errors.not_jsonapi()
    if "publish" not in org.users[user].privileges:
        raise errors.no_publish_privilege()
    body = await schema.parse(request, _BODIES[kind])
    fate = org.faults.strike_job(request.method, request.path)
    job = PublishJob(kind, jobs.default_name(), user, id=wire.new_number())
    job.paths = body["data"]["attributes"]["assetPaths"]
    job.specification, job.start_requests = body, 1
    org.jobs.add(job)
    org.jobs.start(
        job,
        None if "never_end" in fate else org.settings.publish_seconds,
        partial(publish_job.run, org, fate=fate),
    )
    attributes = job.attributes(jobs.NOT_STARTED) | {"assetPaths": job.paths}
    return _answer(request, job, kind, attributes, status=202)


async def whole(request: web.Request, *, kind: str) -> web.Response:
    """GET /publish/{id}: the state with the paths that were asked for."""
    job = _job(request, kind)
    return _answer(request, job, kind, job.result() | {"assetPaths": job.paths})


async def status(request: web.Request, *, kind: str) -> web.Response:
    """GET /publish/{id}/Status, whose type is ``unpublishStatus`` in the docs' sample of the other resource."""
    job = _job(request, kind)
    return _answer(request, job, f"{kind}Status", job.result())


def _job(request: web.Request, kind: str) -> PublishJob:
    _check_accept(request)
    job = request.app[ORG].jobs.get(kind, request.match_info["id"])
    if not isinstance(job, PublishJob):
        raise TypeError(f"{job.id} is no {kind} job")
    return job


def _check_accept(request: web.Request) -> None:
    """Refuse a call that does not name JSON:API in Accept; ``*/*`` does not do (recorded by iics-cli)."""
    accepted = [part.partition(";")[0].strip() for part in request.headers.get(hdrs.ACCEPT, "").split(",")]
    if JSON_API not in accepted:
        raise errors.not_acceptable()


def _answer(
    request: web.Request, job: PublishJob, type_: str, attributes: dict[str, Any], *, status: int = 200
) -> web.Response:
    # The links of real servers start with http:// on every POD (ticket ICAI-41690, recorded by iics-cli).
    link = f"http://{request.host}{_URI}{job.kind}/{job.id}"
    return web.json_response(
        {
            "data": {"type": type_, "id": job.id, "attributes": attributes},
            "links": {"self": link, "status": f"{link}/Status"},
        },
        status=status,
        content_type=JSON_API,
    )
