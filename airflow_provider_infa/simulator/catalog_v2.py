"""Runtime environments, connections and schedules as the v2 API shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, schedules, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.gate import ORG
from airflow_provider_infa.simulator.orgs import Org

Row = Callable[[Org, Asset], dict[str, Any]]


def routes() -> list[web.RouteDef]:
    """Return the routes of the three resources."""
    environments, connections = "/saas/api/v2/runtimeEnvironment", "/saas/api/v2/connection"
    plans = "/saas/api/v2/schedule"
    return [
        web.get(environments, list_environments),
        web.get(environments + "/name/{name}", environment_by_name),
        web.get(environments + "/{id}", environment_by_id),
        web.get(connections, list_connections),
        web.get(connections + "/name/{name}", connection_by_name),
        web.get(connections + "/{id}", connection_by_id),
        web.get(plans, list_schedules),
        web.get(plans + "/name/{name}", schedule_by_name),
        web.get(plans + "/{id}", schedule_by_id),
    ]


async def list_environments(request: web.Request) -> web.Response:
    """GET /api/v2/runtimeEnvironment."""
    return _list(request, "AgentGroup", _environment)


async def environment_by_name(request: web.Request) -> web.Response:
    """GET /api/v2/runtimeEnvironment/name/{name}; for a missing one 403 is chosen as for connections."""
    return _by_name(request, "AgentGroup", _environment)


async def environment_by_id(request: web.Request) -> web.Response:
    """GET /api/v2/runtimeEnvironment/{v2 id}."""
    return _by_id(request, "AgentGroup", _environment)


async def list_connections(request: web.Request) -> web.Response:
    """GET /api/v2/connection."""
    return _list(request, "Connection", _connection)


async def connection_by_name(request: web.Request) -> web.Response:
    """GET /api/v2/connection/name/{name}."""
    return _by_name(request, "Connection", _connection)


async def connection_by_id(request: web.Request) -> web.Response:
    """GET /api/v2/connection/{v2 id}."""
    return _by_id(request, "Connection", _connection)


async def list_schedules(request: web.Request) -> web.Response:
    """GET /api/v2/schedule (Informatica docs: Schedules, version 2)."""
    return _list(request, "SCHEDULE", _schedule)


async def schedule_by_name(request: web.Request) -> web.Response:
    """GET /api/v2/schedule/name/{name}."""
    return _by_name(request, "SCHEDULE", _schedule)


async def schedule_by_id(request: web.Request) -> web.Response:
    """GET /api/v2/schedule/{v2 id}."""
    return _by_id(request, "SCHEDULE", _schedule)


def _list(request: web.Request, type_: str, row: Row) -> web.Response:
    org = request.app[ORG]
    return web.json_response([row(org, asset) for asset in org.assets.of_type(type_)])


def _by_name(request: web.Request, type_: str, row: Row) -> web.Response:
    org, name = request.app[ORG], request.match_info["name"]
    asset = org.assets.find(name, type_)
    if asset is None:
        raise errors.no_named("schedule", name) if type_ == "SCHEDULE" else errors.no_connection(name)
    return web.json_response(row(org, asset))


def _by_id(request: web.Request, type_: str, row: Row) -> web.Response:
    org = request.app[ORG]
    return web.json_response(row(org, by_context_id(org, type_, request.match_info["id"])))


def by_context_id(org: Org, type_: str, id_: str) -> Asset:
    """Return the object with a v2 id.

    :raises ApiError: 403 for another id, a federated one too (recorded in client code and by iics-cli).
    """
    for asset in org.assets.of_type(type_):
        if asset.context_id == id_:
            return asset
    raise errors.not_an_id(id_)


def common(org: Org, asset: Asset) -> dict[str, Any]:
    """Return the fields that all v2 objects have."""
    return {
        "id": asset.context_id,
        "orgId": org.prefix,
        "name": asset.name,
        "description": asset.description,
        "createTime": wire.rounded(asset.update_time),
        "updateTime": wire.rounded(asset.update_time),
        "createdBy": asset.updated_by,
        "updatedBy": asset.updated_by,
        "federatedId": asset.id,
    }


def _environment(org: Org, asset: Asset) -> dict[str, Any]:
    return {
        "@type": "runtimeEnvironment",
        **common(org, asset),
        "agents": [],
        "isShared": False,
        "serverlessConfig": None,
    }


def _connection(org: Org, asset: Asset) -> dict[str, Any]:
    environments = [other.context_id for other in org.assets.many(asset.uses) if other.type == "AgentGroup"]
    return {
        "@type": "connection",
        **common(org, asset),
        "type": asset.definition.get("type"),
        "instanceDisplayName": asset.definition.get("type"),
        "runtimeEnvironmentId": environments[0] if environments else None,
        "agentId": None,
    }


def _schedule(org: Org, asset: Asset) -> dict[str, Any]:
    """Return the documented fields and no status: version 2 has none (Informatica docs: Schedules)."""
    when = schedules.times(asset)
    row = common(org, asset)
    del row["federatedId"]
    return {
        "@type": "schedule",
        **row,
        "startTime": when["startTime"],
        "startTimeUTC": when["startTime"],
        "endTime": when["endTime"],
        "endTimeUTC": when["endTime"],
        "interval": when["interval"],
        "frequency": when["frequency"],
        "rangeStartTime": None,
        "rangeEndTime": None,
        **schedules.days(asset),
        "weekDay": False,
        "dayOfMonth": 0,
        "weekOfMonth": None,
        "dayOfWeek": None,
    }
