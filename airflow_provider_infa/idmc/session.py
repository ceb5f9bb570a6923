"""A session with one org: login, renewal, repetition after failures, logout. Everything sent to IDMC passes here."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.ceiling import Ceiling
from airflow_provider_infa.idmc.login import Login, send_login, send_logout
from airflow_provider_infa.idmc.policy import Failure, Kind, Step, next_step
from airflow_provider_infa.idmc.redaction import Redactor
from airflow_provider_infa.idmc.regions import cai_base
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.idmc.transport import (
    Download,
    Transport,
    Trouble,
    multipart,
    read_json,
    read_text,
    read_zip_into,
)
from airflow_provider_infa.idmc.verdicts import error_of

T = TypeVar("T")
log = logging.getLogger(__name__)

#: A call that had to log in so often without getting through is given up, even if other calls got through.
RENEWALS = 5


class Api(Enum):
    """
    The interfaces of an org behind one session (Informatica's page "Session IDs": one id serves them all).

    Each value is the name of the interface, its path, and the header that carries the session id.
    """

    V3 = ("v3", "/public/core/v3", "INFA-SESSION-ID")
    V2 = ("v2", "/api/v2", "icSessionId")
    #: Publishing of taskflows: on the API host itself, not below ``/saas``.
    TASKFLOWS = ("taskflows", "/active-bpel", "INFA-SESSION-ID")
    #: Publishing of Application Integration assets, which has a host of its own.
    CAI = ("cai", "/active-bpel", "INFA-SESSION-ID")

    @property
    def path(self) -> str:
        """Path of the interface."""
        return self.value[1]

    @property
    def header(self) -> str:
        """Header that carries the session id."""
        return self.value[2]

    def url(self, api_base: str, cai_url: str | None) -> str:
        """
        Address of the interface.

        :param api_base: What the login named: the API host and ``/saas``.
        :param cai_url: Host of Application Integration, if it can't be told from the API host.
        """
        if self in (Api.V3, Api.V2):
            return api_base + self.path
        host = api_base.removesuffix("/saas")
        return (host if self is Api.TASKFLOWS else cai_url or cai_base(host)) + self.path


class Session:
    """
    A session with one IDMC org. Logs in with the first call, again when IDMC no longer accepts the session, and
    out when it is closed. Safe to use from several threads; they share one login.

    :param settings: Where to log in, as whom, and how patiently.
    :param on_secret: Called with every session id before its first use, so that logs can mask it.
    :param connections: Calls that run at the same time at most, and connections to keep open for them; see
        :class:`~airflow_provider_infa.idmc.ceiling.Ceiling`.
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
        #: How requests are sent.
        self.transport = Transport(settings, connections)
        self._ceiling = Ceiling(connections)
        self._lock = threading.RLock()
        self._login: Login | None = None
        self._refused: errors.IdmcError | None = None
        #: Logins in a row whose sessions never got a call through.
        self._useless_logins = 0
        self._closed = False
        self._redact = Redactor(settings.password)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def refusal(self) -> errors.IdmcError | None:
        """Why the login was refused, or that it led to the wrong org: every further call fails so without asking."""
        return self._refused

    def login(self) -> Login:
        """
        Log in, unless that is done already.

        :raises IdmcAuthenticationError: If IDMC refuses the user; every further call then fails the same way
            without asking again.
        :raises IdmcWrongOrgError: If the login leads to another org than it should; likewise.
        """
        with self._lock:
            self._assert_open()
            if self._refused is not None:
                refused = self._refused
                raise type(refused)(
                    str(refused), status=refused.status, code=refused.code, request_id=refused.request_id
                )
            if self._login is not None and self._login.given_up:
                self._log_out()
            if self._login is None:
                self._login = self._log_in()
            return self._login

    def close(self) -> None:
        """
        Log out, if logged in, and close all connections, for good. Failures are logged, never raised.

        Waits for a login that is under way in another thread, but that is not repeated; no other call can log in
        any more.
        """
        self._closed = True
        with self._lock:
            self._log_out()
        self.transport.close()

    def get_json(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        api: Api = Api.V3,
        media_type: str = "application/json",
    ) -> Any:
        """
        GET a JSON answer.

        :param path: Path below that of the interface.
        :param params: Query parameters.
        :param api: The interface.
        :param media_type: What kind of JSON to ask for.
        :raises IdmcError: The subclass tells what can be done about the failure.
        """
        return self._call("GET", path, read_json, params=params, api=api, accept=media_type)

    def get_text(self, path: str) -> str:
        """GET a plain text answer. :param path: Path below that of version 3."""
        return self._call("GET", path, read_text)

    def post_json(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        params: Mapping[str, str] | None = None,
        kind: Kind = Kind.REPEATABLE,
        read_timeout: float | None = None,
        api: Api = Api.V3,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """
        POST a JSON body.

        :param path: Path below that of the interface.
        :param body: Sent as JSON.
        :param params: Query parameters.
        :param kind: Whether the call may be repeated when its outcome is unknown.
        :param read_timeout: Seconds without a byte, if not those of the settings.
        :param api: The interface.
        :param media_type: What kind of JSON to send and to ask for.
        :param headers: Further headers.
        :raises IdmcOutcomeUnknownError: For ``Kind.ONCE``, when the answer was lost.
        :raises IdmcError: The subclass tells what can be done about the failure.
        """
        data = json.dumps(body).encode()
        sent = {"Content-Type": media_type, **(headers or {})}
        return self._call(
            "POST",
            path,
            read_json,
            params=params,
            kind=kind,
            body=lambda: (data, sent),
            read_timeout=read_timeout,
            api=api,
            accept=media_type,
        )

    def download(self, path: str, target: Path) -> Download:
        """
        GET a ZIP file, streaming it to disk; a cut-off download starts again.

        :param path: Path below that of version 3.
        :param target: File to write. After an error it holds nothing of use.
        """
        return self._call("GET", path, read_zip_into(target), accept="application/zip")

    def upload(self, path: str, source: Path, *, field: str, params: Mapping[str, str] | None = None) -> Any:
        """
        POST a ZIP file as ``multipart/form-data``, streaming it from disk.

        :param path: Path below that of version 3.
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
        read_timeout: float | None = None,
        api: Api = Api.V3,
        accept: str = "application/json",
    ) -> T:
        tries = self.tries(method, api, path, kind)
        while True:
            try:
                with self._ceiling.slot():
                    tries.login()
                    url, headers = tries.request(accept)
                    data, more = body() if body else (None, {})
                    result = self.transport.send(
                        method,
                        url,
                        read,
                        params=params,
                        headers={**headers, **more},
                        data=data,
                        read_timeout=read_timeout,
                    )
                    tries.succeeded()
                    return result
            except Trouble as trouble:
                if delay := tries.failed(trouble):
                    self._sleep(delay)

    def tries(self, method: str, api: Api, path: str, kind: Kind = Kind.REPEATABLE) -> Tries:
        """
        The tries of one call, for whoever sends it.

        :param method: HTTP method.
        :param api: The interface.
        :param path: Path below that of the interface.
        :param kind: Whether the call may be repeated when its outcome is unknown.
        """
        return Tries(self, f"{method} {api.path}{path}", kind, api, path)

    def _log_in(self) -> Login:
        what = f"Login of {self.settings.username!r} at {self.settings.login_url}"
        tries = Tries(self, what, Kind.LOGIN)
        while True:
            self._assert_open()
            try:
                login = send_login(self.transport, self.settings, self._on_session_id)
                break
            except Trouble as trouble:
                try:
                    delay = tries.failed(trouble)
                except errors.IdmcAuthenticationError as error:
                    self._refused = error
                    raise
                self._sleep(delay)
        expected = self.settings.expected_org
        if expected and expected not in (login.org_name, login.org_id):
            send_logout(self.transport, self.settings, login.session_id)
            self._refused = errors.IdmcWrongOrgError(
                f"The login of {login.user!r} leads to org {login.org_name!r} ({login.org_id}), but the connection "
                f"expects {expected!r}. Nothing else was sent. Correct the user or the expected organization."
            )
            raise self._refused
        log.info("Logged in to org %s as %s.", login.org_name, login.user)
        return login

    def _log_out(self) -> None:
        """Log out, if logged in. For who holds the lock."""
        login, self._login = self._login, None
        if login is not None and send_logout(self.transport, self.settings, login.session_id):
            log.info("Logged out of org %s.", login.org_name)

    def _assert_open(self) -> None:
        if self._closed:
            raise errors.IdmcInputError("The session is closed; make another one.")

    def _on_session_id(self, session_id: str) -> None:
        self._redact.remember(session_id)
        if self._on_secret is not None:
            self._on_secret(session_id)


class Tries:
    """
    The tries of one call: with which login each was sent, and what comes after a failure.

    :param session: The session.
    :param what: The call, for messages.
    :param kind: Whether it may be repeated when its outcome is unknown.
    :param api: Its interface; none for a login.
    :param path: Its path below that.
    """

    def __init__(self, session: Session, what: str, kind: Kind, api: Api = Api.V3, path: str = "") -> None:
        self._session = session
        self._what = what
        self._kind = kind
        self._api = api
        self._path = path
        self._used: Login | None = None
        self._count = self._server_errors = self._renewals = 0
        self._first_failure: float | None = None

    def login(self) -> None:
        """Log in for the next try, unless that is done already; see :meth:`Session.login`."""
        self._used = self._session.login()

    def take_login(self) -> Login | None:
        """As :meth:`login`, but only if nothing has to be waited for; None if it has."""
        login = self._session._login
        is_good = login is not None and not login.given_up and not self._session._closed
        self._used = login if is_good else None
        return self._used

    def request(self, accept: str) -> tuple[str, dict[str, str]]:
        """
        Address and headers of the next try.

        :param accept: What kind of answer to ask for.
        """
        if self._used is None:
            raise RuntimeError("There is no login to send this with.")
        url = self._api.url(self._used.api_base, self._session.settings.cai_url) + self._path
        return url, {self._api.header: self._used.session_id, "Accept": accept}

    def succeeded(self) -> None:
        """Note that the session was accepted."""
        if self._used is not None:
            self._used.accepted = True
        self._session._useless_logins = 0

    def failed(self, trouble: Trouble) -> float:
        """
        Decide what comes after a failure. May wait for a login that is under way.

        :param trouble: What happened.
        :return: Seconds to wait before the next try.
        :raises IdmcError: If there is none; the subclass tells what can be done about the failure.
        """
        session = self._session
        self._count += 1
        self._server_errors += trouble.failure is Failure.SERVER_ERROR
        now = session._clock()
        self._first_failure = now if self._first_failure is None else self._first_failure
        decision = next_step(
            trouble.failure,
            self._kind,
            tries=self._count,
            elapsed=now - self._first_failure,
            retry_timeout=session.settings.retry_timeout,
            server_errors=self._server_errors,
            retry_after=trouble.wait,
            session_was_good=self._session_was_good(),
        )
        if decision.step is Step.LOGIN:
            log.info("%s: the session is no longer accepted, logging in again.", self._what)
            self._renew()
            return 0.0
        if decision.step is Step.REPEAT:
            told = trouble.tell(session._redact)
            log.warning("%s: %s. Trying again in %.1f s.", self._what, told, decision.delay)
            return decision.delay
        login = session._login  # another thread may renew it meanwhile
        where = f"{self._what} in org {login.org_name}" if login is not None else self._what
        error = error_of(trouble, where, self._kind, decision.step, self._count, session._redact)
        if isinstance(error, errors.IdmcSessionError) and self._used is not None:
            self._used.given_up = True
        raise error from None  # what the server wrote has been cleaned for the error, not in the trouble

    def _renew(self) -> None:
        session, used = self._session, self._used
        with session._lock:
            # Another thread may have renewed already; then its login serves this call as well.
            if used is not None and session._login is used:
                self._renewals += 1
                if used.accepted:
                    session._login = None  # it has expired
                else:
                    session._useless_logins += 1
                    session._log_out()

    def _session_was_good(self) -> bool:
        session, used = self._session, self._used
        with session._lock:
            if used is None or session._login is not used:
                return True  # another thread has renewed meanwhile, or is at it
            # One more login is worth it unless the last one, too, got nothing through.
            return self._renewals < RENEWALS and (used.accepted or session._useless_logins == 0)
