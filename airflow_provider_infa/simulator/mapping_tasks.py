"""Mapping tasks as the v2 API shows them, and the schedule that a task is linked to.

Sources: Informatica docs, Mapping tasks and Update modes; fields as captured in infapy docs (2021); ``frsGuid`` and
``scheduleId``, which the captured tasks do not have, from client code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import catalog_v2, entries, errors, schema, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.gate import ORG, session
from airflow_provider_infa.simulator.orgs import Org

_URI = "/saas/api/v2/mttask"

# What an update in full mode has to bring (Informatica docs: Mapping tasks; recorded in client code).
_NEEDED = ("name", "runtimeEnvironmentId", "mappingId")
# What an update may change here; all other fields may only say what is so already.
_CHANGEABLE = frozenset({"description", "scheduleId"})


def routes() -> list[web.RouteDef]:
    """Return the routes of the mttask resource."""
    return [
        web.get(_URI, list_tasks),
        web.get(_URI + "/name/{name}", task_by_name),
        web.get(_URI + "/frs/{guid}", task),
        web.get(_URI + "/{id}", task),
        web.post(_URI + "/frs/{guid}", update),
        web.post(_URI + "/{id}", update),
    ]


async def list_tasks(request: web.Request) -> web.Response:
    """GET /api/v2/mttask."""
    org = request.app[ORG]
    return web.json_response([_row(org, asset) for asset in org.assets.of_type("MTT")])


async def task_by_name(request: web.Request) -> web.Response:
    """GET /api/v2/mttask/name/{name}; of several tasks with one name the first (chosen: not documented)."""
    org, name = request.app[ORG], request.match_info["name"]
    for asset in org.assets.of_type("MTT"):
        if asset.name == name:
            return web.json_response(_row(org, asset))
    raise errors.no_named("mapping task", name)


async def task(request: web.Request) -> web.Response:
    """GET /api/v2/mttask/{v2 id} and /api/v2/mttask/frs/{federated id}."""
    return web.json_response(_row(request.app[ORG], _find(request)))


async def update(request: web.Request) -> web.Response:
    """POST /api/v2/mttask/{id} and /frs/{federated id}: the whole task, or in partial mode some of its fields.

    That partial mode links a schedule by its v2 id is recorded in client code. How a task is unlinked is not:
    chosen, null and the empty string do it, and so does a whole task without a schedule.
    """
    org, user = request.app[ORG], session().user
    asset = _find(request)
    partial = request.headers.get("Update-Mode", "").upper() == "PARTIAL"
    body = await schema.read_v2(request, _fields)
    if body.pop("@type") != "mtTask":
        raise errors.bad_request("@type must be mtTask")
    if not partial and (missing := [name for name in _NEEDED if name not in body]):
        raise errors.bad_request(f"a full update lacks {', '.join(missing)}; a partial one has Update-Mode: PARTIAL")
    now = _row(org, asset)
    if wrong := [name for name, value in body.items() if name not in _CHANGEABLE and now.get(name) != value]:
        raise errors.bad_request(f"the simulator does not change {', '.join(wrong)}")
    if not asset.may_be_changed_by(user):
        raise errors.not_checked_out(asset.path)
    changes: dict[str, Any] = {"updated_by": user, "update_time": wire.now().replace(microsecond=0)}
    if "scheduleId" in body or not partial:
        changes["schedule"] = _schedule_name(org, body.get("scheduleId"))
    if "description" in body:
        changes["description"] = body["description"]
    return web.json_response(_row(org, org.assets.put(replace(asset, **changes))))


def _fields(value: Any, _where: str) -> dict[str, Any]:
    """Take a body that is an object: that was looked at with ``@type``."""
    return dict(value)


def _find(request: web.Request) -> Asset:
    """Return the task that a URI names; the other kind of id is refused (recorded in client code)."""
    store = request.app[ORG].assets
    if "guid" in request.match_info:
        found = store.get(request.match_info["guid"])
        if found is None or found.type != "MTT":
            raise errors.not_an_id(request.match_info["guid"])
        return found
    return catalog_v2.by_context_id(request.app[ORG], "MTT", request.match_info["id"])


def _schedule_name(org: Org, id_: Any) -> str | None:
    """Return the name of the schedule with this v2 id; a federated id or that of v3 is refused (chosen)."""
    return catalog_v2.by_context_id(org, "SCHEDULE", str(id_)).name if id_ else None


def _row(org: Org, asset: Asset) -> dict[str, Any]:
    uses = org.assets.many(asset.uses)
    environment = next((other.context_id for other in uses if other.type == "AgentGroup"), None)
    mapping = next((other.context_id for other in uses if not other.is_system), None)
    schedule = org.assets.find(asset.schedule, "SCHEDULE") if asset.schedule else None
    row = catalog_v2.common(org, asset)
    # Tasks call it otherwise (client code).
    row["frsGuid"] = row.pop("federatedId")
    return {
        "@type": "mtTask",
        **row,
        "runtimeEnvironmentId": environment,
        "mappingId": mapping,
        "scheduleId": schedule.context_id if schedule else None,
        "maxLogs": 10,
        "verbose": False,
        "shortDescription": "",
        "sessionProperties": {},
        "enableCrossSchemaPushdown": True,
        "enableParallelRun": False,
        "autoTunedApplied": False,
        "autoTunedAppliedType": "NONE",
        "schemaMode": "async",
        "parameterFileEncoding": "UTF-8",
        "serverlessProperties": {},
        "parameters": [],
        "sequences": [],
        "inOutParameters": entries.in_out_parameters(asset),
        "connRuntimeAttrs": [],
    }
