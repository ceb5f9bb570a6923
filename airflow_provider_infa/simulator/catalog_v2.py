"""Runtime environments and connections as the v2 API shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.gate import ORG
from airflow_provider_infa.simulator.orgs import Org

Row = Callable[[Org, Asset], dict[str, Any]]


def routes() -> list[web.RouteDef]:
    """Return the routes of both resources."""
    environments, connections = "/saas/api/v2/runtimeEnvironment", "/saas/api/v2/connection"
    return [
        web.get(environments, list_environments),
        web.get(environments + "/name/{name}", environment_by_name),
        web.get(environments + "/{id}", environment_by_id),
        web.get(connections, list_connections),
        web.get(connections + "/name/{name}", connection_by_name),
        web.get(connections + "/{id}", connection_by_id),
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


def _list(request: web.Request, type_: str, row: Row) -> web.Response:
    org = request.app[ORG]
    return web.json_response([row(org, asset) for asset in org.assets.of_type(type_)])


def _by_name(request: web.Request, type_: str, row: Row) -> web.Response:
    org, name = request.app[ORG], request.match_info["name"]
    asset = org.assets.find(name, type_)
    if asset is None:
        raise errors.no_connection(name)
    return web.json_response(row(org, asset))


def _by_id(request: web.Request, type_: str, row: Row) -> web.Response:
    """Answer for a v2 id; a federated id is refused (recorded in client code and by iics-cli)."""
    org, id_ = request.app[ORG], request.match_info["id"]
    for asset in org.assets.of_type(type_):
        if asset.context_id == id_:
            return web.json_response(row(org, asset))
    raise errors.not_an_id(id_)


def _common(org: Org, asset: Asset) -> dict[str, Any]:
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
        **_common(org, asset),
        "agents": [],
        "isShared": False,
        "serverlessConfig": None,
    }


def _connection(org: Org, asset: Asset) -> dict[str, Any]:
    environments = [other.context_id for other in org.assets.many(asset.uses) if other.type == "AgentGroup"]
    return {
        "@type": "connection",
        **_common(org, asset),
        "type": asset.definition.get("type"),
        "instanceDisplayName": asset.definition.get("type"),
        "runtimeEnvironmentId": environments[0] if environments else None,
        "agentId": None,
    }
