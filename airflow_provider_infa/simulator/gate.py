"""The way of every request into an org: request log, faults, session, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from airflow_provider_infa.simulator import errors, pages
from airflow_provider_infa.simulator.faults import Fault
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.recorder import masked
from airflow_provider_infa.simulator.session_book import Session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ORG = web.AppKey("org", Org)
SITE = web.AppKey("site", str)

# Of the request that is being served; each connection is served by a task of its own.
_entry: ContextVar[dict[str, Any]] = ContextVar("entry")
_session: ContextVar[Session] = ContextVar("session")

V3_HEADER = "INFA-SESSION-ID"
V2_HEADER = "icSessionId"
# Of services beside the platform (Informatica docs: Session IDs).
SERVICE_HEADER = "IDS-SESSION-ID"

# The one API call that is made without a session header (Informatica docs: Session IDs).
_WITHOUT_SESSION = frozenset({"/saas/api/v2/user/validSessionId"})
# The publish resource speaks JSON:API (Informatica docs: Publish).
JSON_API = "application/vnd.api+json"
_JSON = frozenset({"application/json", JSON_API})
_CHUNK = 1 << 16


class Download(web.FileResponse):
    """A file as answer; remembers the file so that a fault can cut it off."""

    def __init__(self, file: Path, headers: dict[str, str]) -> None:
        super().__init__(file, headers=headers)
        self.file = file


def session() -> Session:
    """Return the session that the gate found for the request that is being served."""
    return _session.get()


def note(**facts: Any) -> None:
    """Add facts to the log entry of the request that is being served."""
    _entry.get().update(facts)


def session_id(request: web.Request) -> str | None:
    """Return the session id that a call carries, in the header that its API version asks for.

    The publish resource takes both headers that clients send to it.
    """
    if "/api/v2/" in request.path:
        return request.headers.get(V2_HEADER)
    found = request.headers.get(V3_HEADER)
    return request.headers.get(SERVICE_HEADER) if found is None and _is_jsonapi(request) else found


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve one request and keep in the log what came of it."""
    org = request.app[ORG]
    entry = org.recorder.open(
        request.app[SITE],
        request.method,
        request.path,
        request.query_string,
        sorted(request.headers.keys(), key=str.lower),
        request.headers.get(hdrs.CONTENT_TYPE, ""),
    )
    _entry.set(entry)
    struck = org.faults.strike_call(request.method, request.path)
    entry["fault"] = ",".join(fault.kind for fault in struck) or None
    fault = None
    for fault in struck:
        if fault.kind == "slow":
            await asyncio.sleep(float(fault.parameters["seconds"]))
    kind = fault.kind if fault else ""
    if kind == "drop_before":
        return _sever(request)
    if request.content_type in _JSON and request.can_read_body:
        entry["body"] = masked(await request.read())
    await org.settle()
    if kind == "expire_session":
        org.sessions.expire_all()
    answer: web.StreamResponse | None = _instead(fault) if fault else None
    if answer is None:
        answer = await _answer(request, handler, deny=kind == "deny")
    entry["status"] = answer.status
    if kind == "drop_after":
        return _sever(request)
    if fault and kind == "truncate":
        return await _truncate(request, answer, float(fault.parameters["part"]))
    return answer


async def _answer(request: web.Request, handler: Handler, *, deny: bool) -> web.StreamResponse:
    """Let the handler answer; whatever goes wrong becomes an error in the form of the API version."""
    org = request.app[ORG]
    try:
        if request.app[SITE] == "api" and request.path not in _WITHOUT_SESSION:
            _session.set(org.sessions.use(session_id(request), org.settings))
        if deny:
            raise errors.no_publish_privilege() if _is_jsonapi(request) else errors.no_privilege()
        return await handler(request)
    except errors.HtmlError as error:
        return pages.html(error.status, error.html)
    except errors.ApiError as error:
        note(reason=error.reason or error.message)
        return _refusal(request, error)
    except web.HTTPException as error:
        note(reason=error.reason)
        named = errors.ApiError(error.status, f"V3API_{error.status}", error.reason)
        return _refusal(request, named)


def _refusal(request: web.Request, error: errors.ApiError) -> web.Response:
    """Return an error in the form of the API that was called."""
    if _is_jsonapi(request):
        return web.json_response(error.jsonapi(), status=error.status, headers=error.headers, content_type=JSON_API)
    body = error.v2() if "/api/v2/" in request.path else error.v3()
    return web.json_response(body, status=error.status, headers=error.headers)


def _is_jsonapi(request: web.Request) -> bool:
    return request.path.startswith("/active-bpel/asset/")


def _instead(fault: Fault) -> web.Response | None:
    """Return the answer of a fault that keeps the call from being processed."""
    settings = fault.parameters
    if fault.kind == "throttle":
        return pages.throttled(settings["status"], settings["retry_after"], plain=bool(settings["text"]))
    if fault.kind == "maintenance":
        return pages.maintenance(int(settings["status"]))
    if fault.kind == "server_error":
        error = errors.ApiError(int(settings["status"]), "V3API_500", "Internal server error.")
        return web.json_response(error.v3(), status=error.status)
    return None


def _sever(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def _truncate(request: web.Request, answer: web.StreamResponse, part: float) -> web.StreamResponse:
    """Send the first part of an answer under the length of the whole, then close the connection."""
    if isinstance(answer, Download):
        size, content = answer.file.stat().st_size, b""
    elif isinstance(answer, web.Response) and isinstance(answer.body, bytes):
        size, content = len(answer.body), answer.body
    else:
        return answer
    short = web.StreamResponse(status=answer.status)
    short.content_type = answer.content_type
    short.content_length = size
    await short.prepare(request)
    left = int(size * part)
    if isinstance(answer, Download):
        with answer.file.open("rb") as file:
            while left > 0:
                chunk = file.read(min(_CHUNK, left))
                await short.write(chunk)
                left -= len(chunk)
    else:
        await short.write(content[:left])
    if request.transport is not None:
        request.transport.close()
    return short
