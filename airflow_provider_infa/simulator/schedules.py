"""Schedules as the v3 API shows them (Informatica docs: Getting schedule details; captured in infapy docs, 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, query, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.gate import ORG
from airflow_provider_infa.simulator.orgs import Org

_URI = "/saas/public/core/v3/schedule"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# What a schedule runs like when a seed does not say it.
_DEFAULTS = {
    "status": "enabled",
    "frequency": 1,
    "startTime": "2026-01-05T22:00:00.000Z",
    "endTime": None,
    "interval": "Daily",
}


def routes() -> list[web.RouteDef]:
    """Return the routes of the schedule resource."""
    return [web.get(_URI, list_schedules), web.get(_URI + "/{id}", schedule)]


async def list_schedules(request: web.Request) -> web.Response:
    """GET /schedule, with a filter or without. There are no pages."""
    org = request.app[ORG]
    found = org.assets.of_type("SCHEDULE")
    if "q" in request.query:
        test = query.compile_query(request.query["q"], _fields(org))
        found = [asset for asset in found if test(asset)]
    return web.json_response({"count": len(found), "schedules": [_row(org, asset) for asset in found]})


async def schedule(request: web.Request) -> web.Response:
    """GET /schedule/{id}; a federated id is another id (captured) and is not found."""
    org, id_ = request.app[ORG], request.match_info["id"]
    for asset in org.assets.of_type("SCHEDULE"):
        if _id(org, asset) == id_:
            return web.json_response(_row(org, asset))
    raise errors.not_found(f"The schedule {id_}")


def times(asset: Asset) -> dict[str, Any]:
    """Return when a schedule runs: what a seed says of it, else every day."""
    return _DEFAULTS | dict(asset.definition)


def days(asset: Asset) -> dict[str, bool]:
    """Return the days of the week that a schedule is for."""
    return {day: bool(asset.definition.get(day, False)) for day in _DAYS}


def _id(org: Org, asset: Asset) -> str:
    """Return the id, which is a v2 id with the org's whole id before it (captured:
    ``9dMjYg78QCpewd7iS939IzD0000000000002``).
    """
    return org.id + (asset.context_id or "").removeprefix(org.prefix)


def _row(org: Org, asset: Asset) -> dict[str, Any]:
    when, moment = times(asset), wire.rounded(asset.update_time)
    return {
        "id": _id(org, asset),
        "createTime": moment,
        "updateTime": moment,
        "createdBy": asset.updated_by,
        "updatedBy": asset.updated_by,
        "name": asset.name,
        "rangeStartTime": None,
        "rangeEndTime": None,
        "status": when["status"],
        "frequency": when["frequency"],
        "description": asset.description,
        **days(asset),
        "weekDay": False,
        "dayOfMonth": 0,
        "weekOfMonth": None,
        "dayOfWeek": None,
        "scheduleFederatedId": asset.id,
        "startTime": when["startTime"],
        "endTime": when["endTime"],
        "interval": when["interval"],
    }


def _fields(org: Org) -> query.Fields:
    """Return what a filter may name. The docs' example writes the status with a capital, answers do not."""
    once = {"=="}
    return {
        "status": (query.EQUAL, _caseless(lambda asset: str(times(asset)["status"]))),
        "id": (once, query.text(lambda asset: _id(org, asset))),
        "scheduleFederatedId": (once, query.text(lambda asset: asset.id)),
        "name": (once, query.text(lambda asset: asset.name)),
        "updateTime": (query.ORDER, query.moment(lambda asset: asset.update_time)),
        "updatedBy": (once, query.text(lambda asset: asset.updated_by)),
        "createdBy": (once, query.text(lambda asset: asset.updated_by)),
        "interval": (query.EQUAL, query.text(lambda asset: str(times(asset)["interval"]))),
    }


def _caseless(read: Callable[[Asset], str]) -> Callable[[str, str], query.Filter]:
    made = query.text(lambda asset: read(asset).lower())
    return lambda op, value: made(op, value.lower())
