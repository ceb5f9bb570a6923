"""The objects list and the references of one object."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import catalog, errors, paging, wire
from airflow_provider_infa.simulator.assets import Asset, AssetStore, SourceControl
from airflow_provider_infa.simulator.gate import ORG
from airflow_provider_infa.simulator.query import compile_query


def routes() -> list[web.RouteDef]:
    """Return the routes of the objects resource."""
    return [
        web.get("/saas/public/core/v3/objects", list_objects),
        web.get("/saas/public/core/v3/objects/{id}/references", list_references),
    ]


async def list_objects(request: web.Request) -> web.Response:
    """GET /objects (Informatica docs: Objects). ``count`` counts all matches, not the page.

    The default limit is not documented; chosen: 100 as for the users resource. Unknown parameters are
    ignored, the page's own example has one (``max``).
    """
    skip, limit = paging.window(request, default=100, most=200)
    store, q = request.app[ORG].assets, request.query.get("q")

    def page() -> bytes:
        found = store.listing() if q is None else store.kept(("found", q), lambda: _found(store, q))
        rows = [_row(asset) for asset in found[skip : skip + limit]]
        return json.dumps({"count": len(found), "objects": rows}).encode()

    body = store.kept(("page", q, skip, limit), page)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def _found(store: AssetStore, q: str) -> list[Asset]:
    test = compile_query(q)
    return [asset for asset in store.listing() if test(asset)]


async def list_references(request: web.Request) -> web.Response:
    """GET /objects/{id}/references: direct references only (Informatica docs: Objects, dependencies)."""
    store = request.app[ORG].assets
    asset = store.get(request.match_info["id"])
    if asset is None:
        raise errors.not_found("The object")
    direction = request.query.get("refType", "").lower()
    if direction not in ("uses", "usedby"):
        raise errors.bad_request("refType must be uses or usedBy")
    skip, limit = paging.window(request, default=25, most=50)
    found = store.many(asset.uses) if direction == "uses" else store.users_of(asset.id)
    return web.json_response(
        {
            "count": len(found),
            # The docs call this field id; the server sends it so (captured in infapy docs, 2021).
            "@id": asset.id,
            "references": [_reference(other) for other in found[skip : skip + limit]],
        }
    )


def _row(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "path": asset.path,
        "type": asset.type,
        "description": asset.description or "",
        "updatedBy": asset.updated_by,
        "updateTime": wire.seconds(asset.update_time),
        "tags": list(asset.tags),
        "sourceControl": _source_control(asset.source_control),
        "customAttributes": asset.custom_attributes,
    }


def _source_control(state: SourceControl | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "checkedOutBy": state.checked_out_by,
        "checkedOutTime": _moment(state.checked_out_time),
        "hash": state.hash,
        "lastCheckinBy": state.last_checkin_by,
        "lastCheckinTime": _moment(state.last_checkin_time),
        "lastPullTime": _moment(state.last_pull_time),
        "sourceControlled": state.source_controlled,
    }


def _moment(moment: datetime | None) -> str | None:
    return wire.seconds(moment) if moment else None


def _reference(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "appContextId": asset.context_id,
        "path": asset.path,
        "documentType": catalog.document_type(asset.type),
        "description": asset.description,
        "lastUpdatedTime": wire.seconds(asset.update_time),
    }
