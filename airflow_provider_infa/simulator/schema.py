"""Checks of JSON bodies. Real servers check them strictly: one unknown field and the call is refused
(recorded by iics-cli for two resources).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, pages

Check = Callable[[Any, str], Any]


def text(longest: int | None = None, *, empty: bool = False) -> Check:
    """Accept a string."""

    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or (not value and not empty):
            raise errors.bad_request(f"{where} must be a string")
        if longest is not None and len(value) > longest:
            raise errors.bad_request(f"{where} has more than {longest} characters")
        return value

    return check


def word(*words: str) -> Check:
    """Accept one of some words, in exactly this case."""

    def check(value: Any, where: str) -> str:
        if value not in words:
            raise errors.bad_request(f"{where} must be one of {', '.join(words)}")
        return str(value)

    return check


def flag(value: Any, where: str) -> bool:
    """Accept a boolean, or the strings "true" and "false", which clients are known to send (infapy)."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise errors.bad_request(f"{where} must be a boolean")


def items(check_item: Check, *, most: int | None = None) -> Check:
    """Accept a list that is not empty."""

    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise errors.bad_request(f"{where} must be a list with at least one item")
        if most is not None and len(value) > most:
            raise errors.bad_request(f"{where} has more than {most} items")
        return [check_item(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return check


def record(required: dict[str, Check] | None = None, optional: dict[str, Check] | None = None) -> Check:
    """Accept an object with these fields and no others; null is no value for a field."""
    required, optional = required or {}, optional or {}
    known = required | optional

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise errors.bad_request(f"{where} must be an object")
        if unknown := sorted(value.keys() - known.keys()):
            raise errors.bad_request(f"{where} has unknown fields: {', '.join(unknown)}")
        if missing := sorted(required.keys() - value.keys()):
            raise errors.bad_request(f"{where} lacks {', '.join(missing)}")
        return {key: known[key](item, f"{where}.{key}") for key, item in value.items()}

    return check


async def read_json(request: web.Request, check: Check) -> Any:
    """Return the checked JSON body of a request.

    :raises ApiError: 415 for another media type, 400 for a body that does not fit.
    """
    if request.content_type != "application/json":
        raise errors.not_json()
    return await parse(request, check)


async def parse(request: web.Request, check: Check) -> Any:
    """Return the checked JSON body of a request whose media type was looked at already.

    :raises ApiError: 400 for a body that does not fit.
    """
    try:
        value = json.loads(await request.read())
    except ValueError:
        raise errors.bad_request("the body is no JSON") from None
    return check(value, "body")


async def read_v2(request: web.Request, check: Check) -> Any:
    """Return the checked body of a v2 call; without ``@type`` the answer is an HTML page (recorded in client
    code).
    """
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read())
        except ValueError:
            body = None
        if not isinstance(body, dict) or "@type" not in body:
            raise errors.HtmlError(400, pages.generic(400))
    return await read_json(request, check)
