"""Limits and offsets in query strings."""

from __future__ import annotations

from aiohttp import web

from airflow_provider_infa.simulator import errors


def window(request: web.Request, *, default: int, most: int) -> tuple[int, int]:
    """Return ``skip`` and ``limit`` of a request.

    :raises ApiError: 400 for a value that is no number or out of range. Real servers may cut a limit that is
        too large; what they do is not documented.
    """
    skip = _number(request, "skip", 0)
    limit = _number(request, "limit", default)
    if not 1 <= limit <= most:
        raise errors.bad_request(f"limit must be between 1 and {most}")
    return skip, limit


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise errors.bad_request(f"{name} must be a number of at least 0")
    return int(text)
