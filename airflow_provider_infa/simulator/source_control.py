"""The source control resources: checkout, checkin, undoCheckout, and the state of such an operation."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, jobs, schema, source_control_job
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.exports import expanded
from airflow_provider_infa.simulator.gate import ORG, session
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.source_control_job import CHECKIN, CHECKOUT, UNDO_CHECKOUT, Action

_URI = "/saas/public/core/v3/"


def _object(value: Any, where: str) -> Any:
    """Accept ``{id}`` or ``{path, type}``, the path in its parts (Informatica docs: Checking out objects)."""
    entry = _OBJECT(value, where)
    if "id" not in entry and not {"path", "type"} <= entry.keys():
        raise errors.bad_request(f"{where} must have id, or path and type")
    return entry


_OBJECT = schema.record(
    optional={
        "id": schema.text(),
        "path": schema.items(schema.text()),
        "type": schema.text(),
        "includeContainerAssets": schema.flag,
    }
)
_OBJECTS = schema.items(_object)
_CHECKOUT = schema.record({"objects": _OBJECTS})
_CHECKIN = schema.record({"objects": _OBJECTS, "summary": schema.text(255)}, {"description": schema.text(empty=True)})
_UNDO = schema.record(optional={"objects": _OBJECTS, "checkoutOperationId": schema.text()})


def routes() -> list[web.RouteDef]:
    """Return the routes of the source control resources."""
    return [
        web.post(_URI + "checkout", checkout),
        web.post(_URI + "checkin", checkin),
        web.post(_URI + "undoCheckout", undo_checkout),
        web.get(_URI + "sourceControlAction/{id}", state),
    ]


async def checkout(request: web.Request) -> web.Response:
    """POST /checkout (Informatica docs: Checking out objects)."""
    body = await schema.read_json(request, _CHECKOUT)
    return _start(request, CHECKOUT, body, _chosen(request.app[ORG], body["objects"]))


async def checkin(request: web.Request) -> web.Response:
    """POST /checkin: one asset, or any number of projects and folders (Informatica docs: Checking in objects)."""
    org = request.app[ORG]
    body = await schema.read_json(request, _CHECKIN)
    named = [_find(org, entry) for entry in body["objects"]]
    if len(named) > 1 and not all(asset.is_container for asset in named):
        raise errors.bad_request("one asset, or any number of projects and folders can be checked in")
    return _start(request, CHECKIN, body, _chosen(org, body["objects"]))


async def undo_checkout(request: web.Request) -> web.Response:
    """POST /undoCheckout, of a checkout's id or of objects (Informatica docs: Undoing a checkout)."""
    org = request.app[ORG]
    body = await schema.read_json(request, _UNDO)
    if len(body) != 1:
        raise errors.bad_request("either objects or checkoutOperationId must be given")
    if "objects" in body:
        return _start(request, UNDO_CHECKOUT, body, _chosen(org, body["objects"]))
    done = org.jobs.get(CHECKOUT, body["checkoutOperationId"])
    if not isinstance(done, Action) or done.state != jobs.SUCCESSFUL:
        raise errors.not_found("A successful checkout with this id")
    return _start(request, UNDO_CHECKOUT, body, done.ids)


async def state(request: web.Request) -> web.Response:
    """GET /sourceControlAction/{id} (Informatica docs: Getting the status of a source control operation)."""
    org, id_ = request.app[ORG], request.match_info["id"]
    job = next((job for job in org.jobs if job.id == id_), None)
    if not isinstance(job, Action):
        raise errors.not_found(f"The source control operation {id_}")
    return web.json_response(job.answer(expand=expanded(request)))


def _start(request: web.Request, kind: str, body: dict[str, Any], ids: list[str]) -> web.Response:
    """Start an operation. The docs' table prints ``Id``; all other answers of v3 have ``id``, so this one too."""
    org = request.app[ORG]
    fate = org.faults.strike_job(request.method, request.path)
    job = Action(kind, jobs.default_name(), session().user)
    job.ids, job.specification, job.start_requests = ids, body, 1
    org.jobs.add(job)
    seconds = None if "never_end" in fate else org.settings.source_control_seconds
    org.jobs.start(job, seconds, partial(source_control_job.run, org, fate=fate))
    return web.json_response({"id": job.id, "status": {"state": jobs.NOT_STARTED, "message": "Not Started"}})


def _chosen(org: Org, entries: list[dict[str, Any]]) -> list[str]:
    """Return the ids of what an operation is about: of a container what is in it, if that is asked for.

    Chosen: what a container holds outside source control is left out, and the container itself, too.
    """
    found: dict[str, None] = {}
    for entry in entries:
        asset = _find(org, entry)
        inside = [asset]
        if asset.is_container and entry.get("includeContainerAssets", False):
            inside = [each for each in (asset, *org.assets.contents(asset)) if each.is_source_controlled]
        found |= dict.fromkeys(each.id for each in inside or [asset])
    return list(found)


def _find(org: Org, entry: dict[str, Any]) -> Asset:
    """Return the object of an entry; one that is not there fails the call (chosen: not documented)."""
    store = org.assets
    asset = store.get(entry["id"]) if "id" in entry else store.find("/".join(entry["path"]), entry["type"])
    if asset is None or asset.is_system:
        raise errors.not_found(f"The object {entry.get('id') or '/'.join(entry['path'])}")
    return asset
