"""Assigning and removing tags (Informatica docs: Assigning tags, Removing tags)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, schema
from airflow_provider_infa.simulator.assets import AssetStore
from airflow_provider_infa.simulator.gate import ORG

_MOST = 100
_BODY = schema.items(schema.record({"id": schema.text(), "tags": schema.items(schema.text())}), most=_MOST)

# Returns the tags of an object from those that it has and those that the call names.
Change = Callable[[tuple[str, ...], list[str]], tuple[str, ...]]


def routes() -> list[web.RouteDef]:
    """Return the routes of both resources."""
    return [
        web.post("/saas/public/core/v3/TagObjects", partial(change, how=added)),
        web.post("/saas/public/core/v3/UntagObjects", partial(change, how=removed)),
    ]


def added(old: tuple[str, ...], named: list[str]) -> tuple[str, ...]:
    """Return the tags with some more."""
    return tuple(dict.fromkeys([*old, *named]))


def removed(old: tuple[str, ...], named: list[str]) -> tuple[str, ...]:
    """Return the tags without some; one that is not there is no mistake (chosen: not documented)."""
    return tuple(tag for tag in old if tag not in named)


async def change(request: web.Request, *, how: Change) -> web.Response:
    """POST /TagObjects and /UntagObjects: 204, or a list if some objects failed.

    Chosen: the list comes with 200, and where all objects failed the answer is 404; neither status is documented.
    Tags are no change of the object: its user and time stay (chosen).
    """
    store = request.app[ORG].assets
    body = await schema.read_json(request, _BODY)
    rows = [_apply(store, entry, how) for entry in body]
    failed = sum(row["status"] == "FAILED" for row in rows)
    if not failed:
        return web.Response(status=204)
    if failed == len(rows):
        raise errors.not_found("Every object")
    return web.json_response(rows)


def _apply(store: AssetStore, entry: dict[str, Any], how: Change) -> dict[str, str]:
    """Change one object and tell it in the words of the docs' example, which both resources share."""
    id_ = entry["id"]
    asset = store.get(id_)
    if asset is None or asset.is_system:
        text = f"Object: {id_} skipped, missing READ/UPDATE permissions."
        return {"id": id_, "status": "FAILED", "msg": text}
    store.put(replace(asset, tags=how(asset.tags, entry["tags"])))
    text = f"Object: {id_} Operation Message: [Tag assignment succeeded for artifact {id_}.]"
    return {"id": id_, "status": "SUCCESS", "msg": text}
