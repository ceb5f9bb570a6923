"""The control endpoint: switches faults and settings, and lets tests look inside. No part of IDMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import edits, views
from airflow_provider_infa.simulator.orgs import Org

ORGS: web.AppKey[Mapping[str, Org]] = web.AppKey("orgs")


def control_app(orgs: Mapping[str, Org]) -> web.Application:
    """Return the application of the control endpoint."""
    app = web.Application(middlewares=[_guard])
    app[ORGS] = orgs
    app.add_routes(
        [
            web.get("/orgs", _orgs),
            web.get("/orgs/{org}", _org),
            web.patch("/orgs/{org}", _change_settings),
            web.get("/orgs/{org}/assets", _assets),
            web.get("/orgs/{org}/state", _state),
            web.patch("/orgs/{org}/assets", _edit_asset),
            web.delete("/orgs/{org}/assets", _remove_asset),
            web.get("/orgs/{org}/requests", _requests),
            web.delete("/orgs/{org}/requests", _clear_requests),
            web.get("/orgs/{org}/sessions", _sessions),
            web.post("/orgs/{org}/sessions/expire", _expire_sessions),
            web.post("/orgs/{org}/unlock", _unlock),
            web.get("/orgs/{org}/jobs", _jobs),
            web.get("/orgs/{org}/faults", _faults),
            web.post("/orgs/{org}/faults", _add_faults),
            web.delete("/orgs/{org}/faults", _clear_faults),
        ]
    )
    return app


@web.middleware
async def _guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """Find the org, settle its jobs, and answer mistakes of the caller as JSON."""
    orgs = request.app[ORGS]
    key = request.match_info.get("org")
    if key is not None and key not in orgs:
        return web.json_response({"error": f"no org {key!r}; there are {', '.join(orgs)}"}, status=404)
    for org in orgs.values():
        await org.settle()
    try:
        answer: web.StreamResponse = await handler(request)
    except (ValueError, LookupError, TypeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return answer


def _found(request: web.Request) -> Org:
    return request.app[ORGS][request.match_info["org"]]


async def _orgs(request: web.Request) -> web.Response:
    return web.json_response({key: views.summary(org) for key, org in request.app[ORGS].items()})


async def _org(request: web.Request) -> web.Response:
    return web.json_response(views.summary(_found(request)))


async def _change_settings(request: web.Request) -> web.Response:
    org = _found(request)
    org.change_settings(await request.json())
    return web.json_response(views.summary(org)["settings"])


async def _assets(request: web.Request) -> web.Response:
    return web.json_response(views.assets(_found(request)))


async def _state(request: web.Request) -> web.Response:
    return web.json_response(views.state(_found(request)))


async def _edit_asset(request: web.Request) -> web.Response:
    return web.json_response(edits.edit(_found(request), await request.json()))


async def _remove_asset(request: web.Request) -> web.Response:
    return web.json_response(edits.remove(_found(request), await request.json()))


async def _requests(request: web.Request) -> web.Response:
    return web.json_response(_found(request).recorder.entries())


async def _clear_requests(request: web.Request) -> web.Response:
    _found(request).recorder.clear()
    return web.json_response({})


async def _sessions(request: web.Request) -> web.Response:
    return web.json_response(views.sessions(_found(request)))


async def _expire_sessions(request: web.Request) -> web.Response:
    return web.json_response({"expired": _found(request).sessions.expire_all()})


async def _unlock(request: web.Request) -> web.Response:
    _found(request).unlock()
    return web.json_response({})


async def _jobs(request: web.Request) -> web.Response:
    return web.json_response(views.jobs(_found(request)))


async def _faults(request: web.Request) -> web.Response:
    return web.json_response(_found(request).faults.view())


async def _add_faults(request: web.Request) -> web.Response:
    """Add one fault, or a list of them."""
    org, body = _found(request), await request.json()
    for source in body if isinstance(body, list) else [body]:
        org.faults.add(source)
    return web.json_response(org.faults.view())


async def _clear_faults(request: web.Request) -> web.Response:
    _found(request).faults.clear()
    return web.json_response([])
