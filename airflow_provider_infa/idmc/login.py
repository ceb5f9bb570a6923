"""Login and logout, once: Informatica's pages "Login" and "Logout" (REST API v3)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_infa.idmc.answers import optional
from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcError, IdmcSettingsError
from airflow_provider_infa.idmc.settings import Settings, is_trusted_api_base
from airflow_provider_infa.idmc.transport import Transport, Trouble, check, read_json

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

LOGIN_PATH = "/saas/public/core/v3/login"
LOGOUT_PATH = "/saas/public/core/v3/logout"
#: Seconds for a logout. Nobody waits for it, and the session ends by itself after half an hour.
LOGOUT_TIMEOUT = 10.0
LOGOUT_TRIES = 2


@dataclass
class Login:
    """
    What a login told, and what became of it.

    :param session_id: Sent with every call; never part of ``repr``.
    :param api_base: Address of the API host, including ``/saas``.
    :param user: User name.
    :param org_id: Id of the organization that the user logged in to.
    :param org_name: Its name.
    :param accepted: Whether any call with this session got through.
    :param given_up: Whether a call was given up because this session was not accepted; the next call logs in anew.
    """

    session_id: str = field(repr=False)
    api_base: str
    user: str
    org_id: str
    org_name: str
    accepted: bool = False
    given_up: bool = False


def send_login(transport: Transport, settings: Settings, on_session_id: Callable[[str], None]) -> Login:
    """
    Log in.

    :param transport: Sends the request.
    :param settings: Where and as whom.
    :param on_session_id: Called with the session id before anything else is done with it.
    :raises Trouble: If there is no good answer.
    :raises IdmcAnswerError: If the answer is no login's, or names no API host.
    :raises IdmcSettingsError: If it names an API host that must not get the session.
    """
    body = json.dumps({"username": settings.username, "password": settings.password}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        answer = transport.send("POST", settings.login_url + LOGIN_PATH, read_json, data=body, headers=headers)
    except Trouble as trouble:
        if "sessionid" in trouble.text.lower() or not (trouble.is_page or trouble.error(str)):
            trouble.text = ""  # there may be one in it, that nobody knows yet
        raise
    session_id = _session_id(answer)
    if session_id is None:
        # Nothing of the answer is shown, because a session id may be anywhere in it.
        raise IdmcAnswerError(
            f"{settings.login_url} answered the login with something unexpected: it has to name userInfo.sessionId. "
            "Is this the address of an IDMC login host?"
        )
    on_session_id(session_id)
    try:
        return _read(answer, session_id, settings)
    except IdmcError:
        send_logout(transport, settings, session_id)
        raise


def send_logout(transport: Transport, settings: Settings, session_id: str) -> bool:
    """
    Log out; a failure is logged and nothing else.

    :param transport: Sends the request.
    :param settings: Where.
    :param session_id: The session to end.
    :return: Whether it has ended.
    """
    headers = {"INFA-SESSION-ID": session_id, "Accept": "application/json"}
    url = settings.login_url + LOGOUT_PATH
    for tries in range(1, LOGOUT_TRIES + 1):
        try:
            transport.send("POST", url, _ignore, headers=headers, read_timeout=LOGOUT_TIMEOUT)
            return True
        except (Trouble, IdmcError) as error:
            if tries == LOGOUT_TRIES:
                # Of a Trouble, this is what happened without anything that the server wrote.
                log.info("Could not log out, the session will expire by itself: %s", error)
    return False


def _session_id(answer: Any) -> str | None:
    """The session id of a login's answer, if a header could hold it."""
    user = answer.get("userInfo") if isinstance(answer, dict) else None
    session_id = user.get("sessionId") if isinstance(user, dict) else None
    return session_id if isinstance(session_id, str) and re.fullmatch(r"[!-~]+", session_id) else None


def _read(answer: dict[str, Any], session_id: str, settings: Settings) -> Login:
    """The rest of a login's answer."""
    what = "the login's answer"
    products = optional(answer, "products", list, what) or []
    bases = [p["baseApiUrl"] for p in products if isinstance(p, dict) and isinstance(p.get("baseApiUrl"), str)]
    if not bases:
        raise IdmcAnswerError(
            f"{settings.login_url} accepted the login of {settings.username!r}, but named no API host in "
            "products[].baseApiUrl: has the user a product?"
        )
    api_base = bases[0].rstrip("/")
    if not is_trusted_api_base(api_base, settings.login_url):
        shown = api_base.replace(session_id, "***").replace(settings.password, "***")
        raise IdmcSettingsError(
            f"{settings.login_url} named {shown!r} as its API host. The session is not sent there: it must be https in "
            "the domain of the login host."
        )
    user = answer["userInfo"]
    org_id = optional(user, "orgId", str, what) or ""
    return Login(
        session_id=session_id,
        api_base=api_base,
        user=optional(user, "name", str, what) or settings.username,
        org_id=org_id,
        org_name=optional(user, "orgName", str, what) or org_id,
    )


def _ignore(response: requests.Response) -> None:
    """Only whether a logout was answered well matters, not what with."""
    check(response.status_code, response.headers, "", readable=True)
