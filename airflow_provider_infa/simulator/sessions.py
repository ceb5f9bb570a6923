"""Login and logout, in the v3 and in the v2 form."""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web

from airflow_provider_infa.simulator import errors, schema, wire
from airflow_provider_infa.simulator.gate import ORG, V2_HEADER, V3_HEADER
from airflow_provider_infa.simulator.orgs import Org, User

_CREDENTIALS: dict[str, schema.Check] = {
    "username": schema.text(255, empty=True),
    "password": schema.text(255, empty=True),
}
_V3_LOGIN = schema.record(_CREDENTIALS)
_V2_LOGIN = schema.record({"@type": schema.word("login"), **_CREDENTIALS})
_V2_LOGOUT = schema.record({"@type": schema.word("logout")}, _CREDENTIALS)
_V2_LOGOUT_ALL = schema.record({"@type": schema.word("logout"), **_CREDENTIALS})
_VALIDATE = schema.record({"@type": schema.word("validatedToken"), "userName": schema.text(), "icToken": schema.text()})


def login_routes() -> list[web.RouteDef]:
    """Return what the login host serves."""
    return [
        web.post("/saas/public/core/v3/login", login),
        web.post("/saas/public/core/v3/logout", logout),
        web.post("/ma/api/v2/user/login", login_v2),
        web.post("/ma/api/v2/user/logout", logout_v2),
        web.post("/ma/api/v2/user/logoutall", logout_all),
    ]


def api_routes() -> list[web.RouteDef]:
    """Return what the API host serves of sessions; clients log out at either host."""
    return [
        web.post("/saas/public/core/v3/logout", logout),
        web.post("/saas/api/v2/user/logout", logout_v2),
        web.post("/saas/api/v2/user/validSessionId", validate),
    ]


def authenticate(org: Org, credentials: dict[str, Any], wrong: errors.ApiError) -> User:
    """Return the user whose credentials these are.

    After so many wrong passwords the account is locked, for the right one too (codes recorded by iics-cli,
    the number captured in infapy docs, 2021). How long a lock lasts is not documented: until it is unlocked.

    :raises ApiError: ``wrong``, or IDS_086 for a locked account.
    """
    user = org.users.get(credentials["username"])
    if user is not None and user.failed_logins >= org.settings.max_login_attempts:
        org.sessions.failed_logins += 1
        raise errors.locked()
    if user is None or not hmac.compare_digest(user.password.encode(), credentials["password"].encode()):
        org.sessions.failed_logins += 1
        if user is not None:
            user.failed_logins += 1
        raise wrong
    user.failed_logins = 0
    return user


async def login(request: web.Request) -> web.Response:
    """POST /saas/public/core/v3/login (Informatica docs: Login v3)."""
    org = request.app[ORG]
    user = authenticate(org, await schema.read_json(request, _V3_LOGIN), errors.wrong_password())
    session = org.sessions.open(user.name, org.settings)
    return web.json_response(
        {
            "products": [{"name": "Integration Cloud", "baseApiUrl": org.base_url}],
            "userInfo": {
                "sessionId": session.id,
                "id": user.id,
                "name": user.name,
                "parentOrgId": "",
                "orgId": org.id,
                "orgName": org.name,
                # An object although the docs call it a collection (Informatica docs: Login v3, example).
                "groups": {},
                "status": "Active",
            },
        }
    )


async def logout(request: web.Request) -> web.Response:
    """POST …/v3/logout, at the login host or at the API base."""
    org = request.app[ORG]
    org.sessions.close(org.sessions.use(request.headers.get(V3_HEADER), org.settings).id)
    return web.Response()


async def login_v2(request: web.Request) -> web.Response:
    """POST /ma/api/v2/user/login (Informatica docs: Login v2)."""
    org = request.app[ORG]
    body = await schema.read_v2(request, _V2_LOGIN)
    user = authenticate(org, body, errors.wrong_password_v2())
    session = org.sessions.open(user.name, org.settings)
    return web.json_response(
        {
            "@type": "user",
            "id": wire.context_id(org.prefix, "03", sorted(org.users).index(user.name) + 1),
            "orgId": org.prefix,
            "orgUuid": org.id,
            "name": user.name,
            "description": None,
            "createTime": "2026-01-05T08:00:00.000Z",
            "updateTime": "2026-01-05T08:00:00.000Z",
            "createdBy": user.name,
            "updatedBy": user.name,
            "firstName": user.name,
            "lastName": user.name,
            "title": None,
            "phone": None,
            "roles": [],
            "emails": None,
            "timezone": "UTC",
            "serverUrl": org.base_url,
            "spiUrl": None,
            "uuId": user.id,
            "icSessionId": session.id,
            "forceChangePassword": False,
        }
    )


async def logout_v2(request: web.Request) -> web.Response:
    """POST …/api/v2/user/logout with a session, or with credentials in the body as some scripts do."""
    org = request.app[ORG]
    body = await schema.read_v2(request, _V2_LOGOUT) if request.can_read_body else {}
    if "username" in body and "password" in body:
        authenticate(org, body, errors.wrong_password_v2())
    org.sessions.close(org.sessions.use(request.headers.get(V2_HEADER), org.settings).id)
    return web.Response()


async def logout_all(request: web.Request) -> web.Response:
    """POST /ma/api/v2/user/logoutall: ends every session of the org (Informatica docs: logoutall)."""
    org = request.app[ORG]
    authenticate(org, await schema.read_v2(request, _V2_LOGOUT_ALL), errors.wrong_password_v2())
    org.sessions.close_all()
    return web.json_response({"@type": "success", "code": "UI_10001", "description": "Logged out.", "statusCode": 200})


async def validate(request: web.Request) -> web.Response:
    """POST …/api/v2/user/validSessionId: whole minutes that a session has left (Informatica docs: Session
    IDs).
    """
    org = request.app[ORG]
    body = await schema.read_v2(request, _VALIDATE)
    left = org.sessions.left(body["icToken"], body["userName"])
    minutes = 0 if left is None else int(left // 60)
    return web.json_response({"@type": "validatedToken", "timeUntilExpire": minutes, "isValidToken": left is not None})
