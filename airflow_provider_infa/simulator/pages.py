"""Answers that do not come from IDMC itself but from the servers in front of it."""

from __future__ import annotations

from aiohttp import web

from airflow_provider_infa.simulator import errors

_TITLES = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def html(status: int, body: str) -> web.Response:
    """Return an HTML page."""
    return web.Response(status=status, text=body, content_type="text/html")


def generic(status: int) -> str:
    """Return the page that v2 answers to a body without ``@type`` (client code: generic HTML 400)."""
    return f"<html><head><title>Error {status}</title></head><body><h1>HTTP Status {status}</h1></body></html>"


def maintenance(status: int) -> web.Response:
    """Return the page of a POD that is down; with status 200 it is a friendly one. Chosen: not documented."""
    title = _TITLES.get(status, "Scheduled Maintenance")
    return html(
        status,
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1>"
        "<p>Informatica Intelligent Cloud Services is undergoing maintenance.</p></body></html>",
    )


def throttled(status: int, retry_after: object, *, plain: bool) -> web.Response:
    """Return the answer to a call over the dynamic rate limit.

    Only the words "too many requests" are documented (Informatica docs: Objects); status and header are not.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if plain:
        return web.Response(status=status, text="too many requests", headers=headers)
    error = errors.ApiError(status, "V3API_429", "Too many requests.")
    return web.json_response(error.v3(), status=status, headers=headers)
