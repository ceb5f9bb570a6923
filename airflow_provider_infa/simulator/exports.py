"""The export resource: start, state, log, package."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from aiohttp import web

from airflow_provider_infa.simulator import catalog, errors, export_job, joblog, jobs, schema, wire
from airflow_provider_infa.simulator.gate import ORG, Download, session
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org

_URI = "/saas/public/core/v3/export"

_OBJECT = schema.record({"id": schema.text()}, {"includeDependencies": schema.flag})
_BODY = schema.record({"objects": schema.items(_OBJECT)}, {"name": schema.text(255)})


def routes() -> list[web.RouteDef]:
    """Return the routes of the export resource."""
    return [
        web.post(_URI, start),
        web.get(_URI + "/{id}", state),
        web.get(_URI + "/{id}/log", log),
        web.get(_URI + "/{id}/package", package),
    ]


async def start(request: web.Request) -> web.Response:
    """POST /export (Informatica docs: Starting an export job).

    Any number of objects is taken: 1000 is a recommendation only.
    """
    org = request.app[ORG]
    user = session().user
    if "export" not in org.users[user].privileges:
        raise errors.no_privilege()
    with_tags = query_flag(request, "includeTagInformation")
    body = await schema.read_json(request, _BODY)
    roots: dict[str, bool] = {}
    for item in body["objects"]:
        roots[item["id"]] = roots.get(item["id"], False) or item.get("includeDependencies", True)
    if unknown := [id_ for id_ in roots if not _is_exportable(org, id_)]:
        raise errors.unknown_objects(unknown)
    fate = org.faults.strike_job(request.method, request.path)
    job = org.jobs.add(Job("export", body.get("name") or jobs.default_name(), user))
    job.specification = body
    job.start_requests = 1
    org.jobs.start(
        job,
        None if "never_end" in fate else org.settings.export_seconds,
        partial(export_job.run, org, roots=roots, with_tags=with_tags, fate=fate),
    )
    return web.json_response(job.view(wire.millis))


async def state(request: web.Request) -> web.Response:
    """GET /export/{id}, with ``expand=objects`` for the single objects."""
    job = request.app[ORG].jobs.get("export", request.match_info["id"])
    return web.json_response(job.view(wire.rounded, expand=expanded(request)))


async def log(request: web.Request) -> web.Response:
    """GET /export/{id}/log; of a running job the head only (chosen: not documented)."""
    org = request.app[ORG]
    job = org.jobs.get("export", request.match_info["id"])
    return web.Response(text=job.log or joblog.head(job, org.name))


async def package(request: web.Request) -> web.StreamResponse:
    """GET /export/{id}/package: the stored file; an error while there is none (chosen: not documented)."""
    job = request.app[ORG].jobs.get("export", request.match_info["id"])
    if job.package is None:
        raise errors.not_finished(job.id)
    name = quote(f"{job.name}.zip", safe="")
    return Download(
        job.package,
        {"Content-Type": "application/zip", "Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


def expanded(request: web.Request) -> bool:
    """Tell whether the caller wants the objects; no other value of ``expand`` is documented.

    :raises ApiError: 400 for another value.
    """
    value = request.query.get("expand")
    if value not in (None, "objects"):
        raise errors.bad_request("expand must be objects")
    return value is not None


def query_flag(request: web.Request, name: str) -> bool:
    """Return a boolean parameter; clients send ``true`` and ``True``.

    :raises ApiError: 400 for another word.
    """
    value = request.query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise errors.bad_request(f"{name} must be true or false")
    return value == "true"


def _is_exportable(org: Org, id_: str) -> bool:
    """Tell whether an id is one of a project, folder or asset (Informatica docs: Starting an export job)."""
    asset = org.assets.get(id_)
    return asset is not None and asset.type not in catalog.SYSTEM
