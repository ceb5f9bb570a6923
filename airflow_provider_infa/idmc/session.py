"""A session with one org: login, renewal, repetition after failures, logout. Everything sent to IDMC passes here."""

from __future__ import annotations

import html
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.answers import member, optional
from airflow_provider_infa.idmc.policy import LOGIN_REFUSALS, Failure, Kind, Step, next_step
from airflow_provider_infa.idmc.settings import Settings, is_trusted_api_base
from airflow_provider_infa.idmc.transport import (
    Download,
    Transport,
    Trouble,
    check,
    multipart,
    read_json,
    read_text,
    read_zip_into,
)

T = TypeVar("T")
log = logging.getLogger(__name__)

#: A call that had to log in so often without getting through is given up, even if other calls got through.
RENEWALS = 5
#: Session ids, the newest, that are looked for in what servers write.
REMEMBERED_SESSIONS = 50
LOGIN_PATH = "/saas/public/core/v3/login"
LOGOUT_PATH = "/saas/public/core/v3/logout"
API_PATH = "/public/core/v3"
#: Seconds for a logout. Nobody waits for it, and the session ends by itself after half an hour.
LOGOUT_TIMEOUT = 10.0
LOGOUT_TRIES = 2


@dataclass
class Login:
    """
    What a login told (Informatica's page "Login", v3).

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


class Session:
    """
    A session with one IDMC org. Logs in with the first call, again when IDMC no longer accepts the session, and
    out when it is closed. Safe to use from several threads; they share one login.

    :param settings: Where to log in, as whom, and how patiently.
    :param on_secret: Called with every session id before its first use, so that logs can mask it.
    :param connections: Connections to keep open; as many calls can run at the same time without waiting.
    :param sleep: Waits so many seconds; tests pass their own.
    :param clock: Seconds on a clock that never jumps; tests pass their own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_secret: Callable[[str], None] | None = None,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._on_secret = on_secret
        self._sleep = sleep
        self._clock = clock
        self._transport = Transport(settings, connections)
        self._lock = threading.RLock()
        self._login: Login | None = None
        self._refused: errors.IdmcAuthenticationError | None = None
        #: Logins in a row whose sessions never got a call through.
        self._useless_logins = 0
        self._closed = False
        self._session_ids: deque[str] = deque(maxlen=REMEMBERED_SESSIONS)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def login(self) -> Login:
        """
        Log in, unless that is done already.

        :raises IdmcAuthenticationError: If IDMC refuses the user; every further call then fails the same way
            without asking again.
        """
        with self._lock:
            if self._closed:
                raise errors.IdmcInputError("The session is closed; make another one.")
            if self._refused is not None:
                refused = self._refused
                raise errors.IdmcAuthenticationError(
                    str(refused), status=refused.status, code=refused.code, request_id=refused.request_id
                )
            if self._login is None:
                self._login = self._log_in()
            return self._login

    def close(self) -> None:
        """
        Log out, if logged in, and close all connections, for good. Failures are logged, never raised.

        Waits for a login that is under way. A call under way in another thread can't log in any more.
        """
        with self._lock:
            self._closed = True
            login, self._login = self._login, None
        if login is not None:
            self._log_out(login.session_id)
        self._transport.close()

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """
        GET a JSON answer.

        :param path: Path below ``/public/core/v3``.
        :param params: Query parameters.
        :raises IdmcError: The subclass tells what can be done about the failure.
        """
        return self._call("GET", path, read_json, params=params)

    def get_text(self, path: str) -> str:
        """GET a plain text answer. :param path: Path below ``/public/core/v3``."""
        return self._call("GET", path, read_text)

    def post_json(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        params: Mapping[str, str] | None = None,
        kind: Kind = Kind.REPEATABLE,
        read_timeout: float | None = None,
    ) -> Any:
        """
        POST a JSON body.

        :param path: Path below ``/public/core/v3``.
        :param body: Sent as JSON.
        :param params: Query parameters.
        :param kind: Whether the call may be repeated when its outcome is unknown.
        :param read_timeout: Seconds without a byte, if not those of the settings.
        :raises IdmcOutcomeUnknownError: For ``Kind.ONCE``, when the answer was lost.
        :raises IdmcError: The subclass tells what can be done about the failure.
        """
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._call(
            "POST", path, read_json, params=params, kind=kind, read_timeout=read_timeout, body=lambda: (data, headers)
        )

    def download(self, path: str, target: Path) -> Download:
        """
        GET a ZIP file, streaming it to disk; a cut-off download starts again.

        :param path: Path below ``/public/core/v3``.
        :param target: File to write. After an error it holds nothing of use.
        """
        return self._call("GET", path, read_zip_into(target), stream=True, accept="application/zip")

    def upload(self, path: str, source: Path, *, field: str, params: Mapping[str, str] | None = None) -> Any:
        """
        POST a ZIP file as ``multipart/form-data``, streaming it from disk.

        :param path: Path below ``/public/core/v3``.
        :param source: The file.
        :param field: Name of its part.
        :param params: Query parameters.
        """
        with source.open("rb") as file:

            def body() -> tuple[Any, dict[str, str]]:
                file.seek(0)
                return multipart(field, source.name, file)

            return self._call("POST", path, read_json, params=params, body=body)

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        *,
        params: Mapping[str, str] | None = None,
        kind: Kind = Kind.REPEATABLE,
        body: Callable[[], tuple[Any, dict[str, str]]] | None = None,
        stream: bool = False,
        read_timeout: float | None = None,
        accept: str = "application/json",
    ) -> T:
        used: Login | None = None
        renewals = 0

        def attempt() -> T:
            nonlocal used
            used = self.login()
            data, headers = body() if body else (None, {})
            headers = {"INFA-SESSION-ID": used.session_id, "Accept": accept, **headers}
            result = self._transport.send(
                method,
                used.api_base + API_PATH + path,
                read,
                params=params,
                headers=headers,
                data=data,
                stream=stream,
                read_timeout=read_timeout,
            )
            used.accepted = True
            self._useless_logins = 0
            return result

        def renew() -> None:
            nonlocal renewals
            with self._lock:
                # Another thread may have renewed already; then its login serves this call as well.
                if used is not None and self._login is used:
                    self._useless_logins += not used.accepted
                    self._login = None
                    renewals += 1

        def session_was_good() -> bool:
            with self._lock:
                if used is None or self._login is not used:
                    return True  # another thread has renewed meanwhile, or is at it
                # One more login is worth it unless the last one, too, got nothing through.
                return renewals < RENEWALS and (used.accepted or self._useless_logins == 0)

        with self._lock:
            if self._login is not None and self._login.given_up:
                self._login = None
        try:
            return self._persist(f"{method} {API_PATH}{path}", kind, attempt, renew, session_was_good)
        except errors.IdmcAuthenticationError:
            if used is not None:
                used.given_up = True
            raise

    def _log_in(self) -> Login:
        url = self.settings.login_url + LOGIN_PATH
        body = json.dumps({"username": self.settings.username, "password": self.settings.password}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}

        def attempt() -> Login:
            answer = self._transport.send("POST", url, read_json, data=body, headers=headers)
            return self._read_login(answer)

        try:
            login = self._persist(
                f"Login of {self.settings.username!r} at {self.settings.login_url}", Kind.LOGIN, attempt
            )
        except errors.IdmcAuthenticationError as error:
            self._refused = error
            raise
        log.info("Logged in to org %s as %s.", login.org_name, login.user)
        return login

    def _log_out(self, session_id: str) -> None:
        headers = {"INFA-SESSION-ID": session_id, "Accept": "application/json"}
        url = self.settings.login_url + LOGOUT_PATH
        for tries in range(1, LOGOUT_TRIES + 1):
            try:
                self._transport.send("POST", url, _ignore_answer, headers=headers, read_timeout=LOGOUT_TIMEOUT)
                return
            except (Trouble, errors.IdmcError) as error:
                if tries == LOGOUT_TRIES:
                    log.info("Could not log out, the session will expire by itself: %s", self._clean(str(error)))

    def _read_login(self, answer: Any) -> Login:
        try:
            user = member(answer if isinstance(answer, dict) else {}, "userInfo", dict, "")
            session_id = member(user, "sessionId", str, "")
            bases = [member(product, "baseApiUrl", str, "") for product in member(answer, "products", list, "")]
            org_id = optional(user, "orgId", str, "") or ""
            name, org_name = optional(user, "name", str, ""), optional(user, "orgName", str, "")
        except (errors.IdmcAnswerError, AttributeError):
            bases = []
        if not bases:
            # Nothing of the answer is shown, because a session id may be anywhere in it.
            raise errors.IdmcAnswerError(
                f"{self.settings.login_url} answered the login with something unexpected: it has to name "
                "userInfo.sessionId and products[].baseApiUrl. Is this the address of an IDMC login host?"
            )
        self._session_ids.append(session_id)
        if self._on_secret is not None:
            self._on_secret(session_id)
        api_base = bases[0].rstrip("/")
        if not is_trusted_api_base(api_base, self.settings.login_url):
            self._log_out(session_id)
            raise errors.IdmcAnswerError(
                f"{self.settings.login_url} named {self._clean(api_base)!r} as its API host. The session is not sent "
                "there: it must be https in the domain of the login host."
            )
        return Login(
            session_id=session_id,
            api_base=api_base,
            user=name or self.settings.username,
            org_id=org_id,
            org_name=org_name or org_id,
        )

    def _persist(
        self,
        what: str,
        kind: Kind,
        attempt: Callable[[], T],
        renew: Callable[[], None] | None = None,
        session_was_good: Callable[[], bool] = lambda: False,
    ) -> T:
        """Run ``attempt`` until it succeeds or the policy gives up."""
        tries = 0
        first_failure: float | None = None
        while True:
            tries += 1
            try:
                return attempt()
            except Trouble as trouble:
                now = self._clock()
                first_failure = now if first_failure is None else first_failure
                decision = next_step(
                    trouble.failure,
                    kind,
                    tries=tries,
                    elapsed=now - first_failure,
                    retry_timeout=self.settings.retry_timeout,
                    retry_after=trouble.wait,
                    session_was_good=session_was_good(),
                )
                if decision.step is Step.LOGIN and renew is not None:
                    log.info("%s: the session is no longer accepted, logging in again.", what)
                    renew()
                elif decision.step is Step.REPEAT:
                    log.warning("%s: %s. Trying again in %.1f s.", what, trouble.tell(self._clean), decision.delay)
                    self._sleep(decision.delay)
                else:
                    raise self._error(what, kind, trouble, decision.step, tries) from None

    def _error(self, what: str, kind: Kind, trouble: Trouble, step: Step, tries: int) -> errors.IdmcError:
        login = self._login  # another thread may renew it meanwhile
        org = f" in org {login.org_name}" if login is not None else ""
        message = f"{what}{org}: {trouble.tell(self._clean)}"
        if trouble.failure is Failure.UNAUTHORIZED and kind is not Kind.LOGIN:
            message += ". A new login did not help: may this user use the REST API in this org?"
        if tries > 1 and trouble.failure is not Failure.REFUSED:
            message += f" (given up after {tries} tries)"
        error = trouble.error(self._clean)
        return _error_class(kind, trouble, step, error.code if error else None)(
            message,
            status=trouble.status,
            code=(error.code or "") if error else None,
            request_id=error.request_id if error else None,
            retry_after=trouble.wait,
        )

    def _clean(self, text: str) -> str:
        """Take secrets out of a text that a server wrote, should it echo them."""
        for secret in (self.settings.password, *list(self._session_ids)):
            for form in {secret, html.escape(secret), quote(secret), json.dumps(secret)[1:-1]} if secret else ():
                text = text.replace(form, "***")
        return text


def _ignore_answer(response: Any) -> None:
    """Only whether an answer to a logout came matters."""
    check(response, "", readable=True)


def _error_class(kind: Kind, trouble: Trouble, step: Step, code: str | None) -> type[errors.IdmcError]:
    if step is Step.ASK_STATE:
        return errors.IdmcOutcomeUnknownError
    if trouble.final is not None:
        return trouble.final
    status = trouble.status or 0
    if trouble.failure is Failure.UNAUTHORIZED or (
        kind is Kind.LOGIN and (status in (400, 403) or code in LOGIN_REFUSALS)
    ):
        return errors.IdmcAuthenticationError
    if trouble.failure is Failure.REFUSED:
        if 300 <= status < 400:
            return errors.IdmcAnswerError
        by_status = {403: errors.IdmcPermissionError, 404: errors.IdmcNotFoundError, 409: errors.IdmcConflictError}
        return by_status.get(status, errors.IdmcRequestError)
    return errors.IdmcThrottledError if trouble.failure is Failure.THROTTLED else errors.IdmcUnavailableError
