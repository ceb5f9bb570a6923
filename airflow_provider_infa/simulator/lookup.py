"""Lookup of objects by id, or by path and type."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, schema, wire
from airflow_provider_infa.simulator.assets import Asset, AssetStore
from airflow_provider_infa.simulator.gate import ORG

# The largest lookup is not documented; chosen: as many as an export should hold.
_MOST = 1000
_ENTRY = schema.record(optional={"id": schema.text(), "path": schema.text(), "type": schema.text()})


def _entry(value: Any, where: str) -> Any:
    """Accept ``{id}`` or ``{path, type}`` (Informatica docs: Lookup)."""
    entry = _ENTRY(value, where)
    if "id" not in entry and not {"path", "type"} <= entry.keys():
        raise errors.bad_request(f"{where} must have id, or path and type")
    return entry


_BODY = schema.record({"objects": schema.items(_entry, most=_MOST)})


def routes() -> list[web.RouteDef]:
    """Return the routes of the lookup resource."""
    return [web.post("/saas/public/core/v3/lookup", lookup)]


async def lookup(request: web.Request) -> web.Response:
    """POST /lookup. What it answers for a missing object is not documented: see the setting
    ``lookup_missing``.
    """
    org = request.app[ORG]
    body = await schema.read_json(request, _BODY)
    rows = []
    for entry in body["objects"]:
        asset = _find(org.assets, entry)
        if asset is not None:
            rows.append(_row(asset))
        elif org.settings.lookup_missing == "error":
            raise errors.not_found(f"The object {entry.get('id') or entry.get('path')}")
    return web.json_response({"objects": rows})


def _find(store: AssetStore, entry: dict[str, str]) -> Asset | None:
    return store.get(entry["id"]) if "id" in entry else store.find(entry["path"], entry["type"])


def _row(asset: Asset) -> dict[str, Any]:
    """Return an object without tags and source control; null descriptions as captured (2021)."""
    return {
        "id": asset.id,
        "path": asset.path,
        "type": asset.type,
        "description": asset.description,
        "updatedBy": asset.updated_by,
        "updateTime": wire.seconds(asset.update_time),
    }
