"""The session: login, renewal, repetition, and what must never happen to a password or a session id."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import re
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa import __version__
from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.policy import Kind
from airflow_provider_infa.idmc.session import Api, Session

from .idmc_doubles import (
    API_BASE,
    LOGIN,
    LOGIN_HOST,
    LOGOUT,
    ORG,
    ORG_ID,
    PASSWORD,
    SESSION_ID,
    USER,
    V3,
    Answer,
    Clock,
    Received,
    TinyIdmc,
    TinyServer,
    error_body,
    login_answer,
    new_session,
    settings,
)

Mocker = requests_mock.Mocker

THINGS = f"{V3}/things"
HTML = "<html><head><title>503 Service Unavailable</title></head><body><h1>Maintenance</h1></body></html>"


def logins(wire: Mocker) -> int:
    return sum(r.url == LOGIN for r in wire.request_history)


def logged_out(wire: Mocker) -> list[str]:
    return [r.headers["INFA-SESSION-ID"] for r in wire.request_history if r.url == LOGOUT]


def tries(wire: Mocker) -> int:
    return sum(r.url.startswith(THINGS) for r in wire.request_history)


# login and logout -------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_first_call(wire: Mocker, session: Session) -> None:
    session.close()
    assert not wire.request_history


def test_login_call_logout(wire: Mocker, clock: Clock) -> None:
    wire.get(THINGS, json={"a": 1})
    with new_session(clock) as session:
        assert session.get_json("/things", {"q": "a b+ü&c", "limit": "2"}) == {"a": 1}
        assert session.get_json("/things") == {"a": 1}
    login, first, second, logout = wire.request_history
    assert (login.method, login.url) == ("POST", LOGIN)
    assert login.json() == {"username": USER, "password": PASSWORD}
    assert login.headers["Content-Type"] == "application/json"
    assert "INFA-SESSION-ID" not in login.headers
    assert (first.method, first.url) == ("GET", f"{THINGS}?q=a%20b%2B%C3%BC%26c&limit=2")
    assert first.headers["INFA-SESSION-ID"] == second.headers["INFA-SESSION-ID"] == SESSION_ID
    assert first.headers["Accept"] == "application/json"
    assert (logout.method, logout.url) == ("POST", LOGOUT)
    assert logout.headers["INFA-SESSION-ID"] == SESSION_ID
    assert not logout.body


def test_login_tells_who_and_where(wire: Mocker, session: Session) -> None:
    login = session.login()
    assert (login.user, login.org_id, login.org_name, login.api_base) == (USER, ORG_ID, ORG, API_BASE)


def test_login_without_names(wire: Mocker, session: Session) -> None:
    wire.post(
        LOGIN, json={"products": [{"baseApiUrl": f"{API_BASE}/"}], "userInfo": {"sessionId": SESSION_ID, "orgId": None}}
    )
    login = session.login()
    assert (login.user, login.org_id, login.org_name, login.api_base) == (USER, "", "", API_BASE)


def test_a_closed_session_stays_closed(wire: Mocker, session: Session) -> None:
    wire.get(THINGS, json={})
    session.get_json("/things")
    session.close()
    session.close()
    with pytest.raises(errors.IdmcInputError, match="closed"):
        session.get_json("/things")
    assert logins(wire) == 1
    assert sum(r.url == LOGOUT for r in wire.request_history) == 1


def test_a_call_under_way_does_not_log_in_after_close(wire: Mocker, session: Session) -> None:
    """Nobody would log out any more."""

    def expire(request: Any, context: Any) -> dict[str, Any]:
        session.close()
        context.status_code = 401
        return {}

    wire.get(THINGS, json=expire)
    with pytest.raises(errors.IdmcInputError, match="closed"):
        session.get_json("/things")
    assert logins(wire) == 1


def test_closing_does_not_wait_until_a_login_is_given_up(wire: Mocker) -> None:
    """A thread of a listing may be about it."""
    wire.post(LOGIN, status_code=503)
    waiting, closed = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waiting.set()
        closed.wait(0.5)

    failed: list[BaseException] = []

    def call() -> None:
        try:
            session.get_json("/things")
        except errors.IdmcError as error:
            failed.append(error)

    session = Session(settings(retry_timeout=60.0), sleep=sleep)
    thread = threading.Thread(target=call)
    thread.start()
    assert waiting.wait(10)
    session.close()
    closed.set()
    thread.join(10)
    assert logins(wire) == 1
    assert "closed" in str(failed[0])


@pytest.mark.parametrize("status", [200, 401, 500, 503])
def test_logout_whatever_it_answers(wire: Mocker, session: Session, clock: Clock, status: int) -> None:
    wire.post(LOGOUT, status_code=status, text=HTML)
    session.login()
    session.close()
    assert clock.sleeps == []


def test_logout_that_fails_is_no_failure(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    def respond(request: Received) -> Answer:
        if request.path.endswith("/logout"):
            return Answer(body=None)
        return Answer(body=login_answer(api_base="http://127.0.0.1/saas"))

    with TinyServer(respond) as server, caplog.at_level(logging.DEBUG):
        session = new_session(clock, server.url)
        session.login()
        session.close()
        assert server.count("/logout") == 2
    assert "Could not log out" in caplog.text
    assert SESSION_ID not in caplog.text


def test_every_session_id_is_announced_before_its_first_use(wire: Mocker, clock: Clock) -> None:
    told: list[str] = []
    first_uses: list[str] = []

    def respond(request: Any, context: Any) -> dict[str, Any]:
        first_uses.append(request.headers["INFA-SESSION-ID"])
        assert told[-1] == first_uses[-1]
        context.status_code = 401 if len(first_uses) == 1 else 200
        return {}

    wire.post(LOGIN, [{"json": login_answer("one")}, {"json": login_answer("two")}])
    wire.get(THINGS, json=respond)
    with Session(settings(), on_secret=told.append, sleep=clock.sleep, clock=clock) as session:
        session.get_json("/things")
    assert told == first_uses == ["one", "two"]


@pytest.mark.parametrize(
    "base",
    [
        "https://evil-informaticacloud.com/saas",
        "https://usw5.dm-us.informaticacloud.com.evil.example/saas",
        "http://usw5.dm-us.informaticacloud.com/saas",
        "https://127.0.0.1/saas",
        "https://evil.example\\.informaticacloud.com/saas",
        "",
    ],
)
def test_api_host_that_is_not_trusted(wire: Mocker, session: Session, base: str) -> None:
    wire.post(LOGIN, json=login_answer(api_base=base))
    # Not waited out: each look would log in and out.
    with pytest.raises(errors.IdmcSettingsError, match="not sent there"):
        session.get_json("/things")
    assert [r.url for r in wire.request_history] == [LOGIN, LOGOUT]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        "text",
        {},
        {"userInfo": None, "products": []},
        {"userInfo": {"sessionId": None}, "products": [{"baseApiUrl": API_BASE}]},
        {"userInfo": {"sessionId": SESSION_ID}, "products": []},
        {"userInfo": {"sessionId": SESSION_ID}},
        {"userInfo": {"sessionId": SESSION_ID}, "products": [None, {"name": "x"}, {"baseApiUrl": 7}]},
        {"userInfo": [{"sessionId": SESSION_ID}], "products": [{"baseApiUrl": API_BASE}]},
    ],
)
def test_login_answer_that_can_not_be_read(wire: Mocker, session: Session, answer: Any) -> None:
    wire.post(LOGIN, text=json.dumps(answer))
    with pytest.raises(errors.IdmcAnswerError) as caught:
        session.login()
    assert SESSION_ID not in str(caught.value)
    assert logins(wire) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"products": []}, "accepted the login of 'deployer', but named no API host.*has the user a product"),
        ({"products": None}, "has the user a product"),
        ({"products": [{"name": "Integration Cloud"}]}, "has the user a product"),
        ({"products": {}}, "'products' of the login's answer should be a list"),
    ],
)
def test_a_login_of_no_use_is_logged_out(wire: Mocker, clock: Clock, changes: dict[str, Any], words: str) -> None:
    """Else each look of a wait would leave one more session open."""
    told: list[str] = []
    wire.post(LOGIN, json={**login_answer(), **changes})
    session = Session(settings(), on_secret=told.append, sleep=clock.sleep, clock=clock)
    with pytest.raises(errors.IdmcAnswerError, match=words) as caught:
        session.login()
    assert "login host" not in str(caught.value)
    assert [r.url for r in wire.request_history] == [LOGIN, LOGOUT]
    assert logged_out(wire) == told == [SESSION_ID]
    check_clean(str(caught.value), SESSION_ID, PASSWORD)
    session.close()
    assert len(wire.request_history) == 2


# wrong passwords --------------------------------------------------------------------------------------------------

REFUSALS = {
    "v3": (400, error_body("IDS_085", "User name or password is not valid.")),
    "v3, as the general table says": (401, error_body("IDS_085", "User name or password is not valid.")),
    "v3, forbidden": (403, error_body("IDS_085", "User name or password is not valid.")),
    "locked": (400, error_body("IDS_086", "The account is locked.")),
    "v2": (
        400,
        {"@type": "error", "code": "UI_10000", "description": "User name or password is not valid.", "statusCode": 403},
    ),
    "under a good status": (200, error_body("IDS_085", "User name or password is not valid.")),
    # The status that comes with IDS_086 is not known: the code has to do.
    "locked, as such": (423, error_body("IDS_086", "The account is locked.")),
    "locked, as a server error": (500, error_body("IDS_086", "The account is locked.")),
}


@pytest.mark.parametrize(("status", "body"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_wrong_password_is_tried_once(
    wire: Mocker, session: Session, clock: Clock, status: int, body: dict[str, Any]
) -> None:
    """Ten wrong tries lock the account."""
    wire.post(LOGIN, status_code=status, json=body)
    for call in (session.login, lambda: session.get_json("/things"), lambda: session.get_text("/things")):
        with pytest.raises(errors.IdmcAuthenticationError) as caught:
            call()
        error = caught.value
        assert error.code == (body.get("error") or body)["code"]
        assert USER in str(error)
        assert type(error) is errors.IdmcAuthenticationError
        assert not error.transient
    assert logins(wire) == 1
    assert clock.sleeps == []


@pytest.mark.parametrize("text", ["", "Forbidden", '{"said": "in another way"}'])
@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_login_refused_in_unknown_words_is_tried_once_too(
    wire: Mocker, session: Session, status: int, text: str
) -> None:
    wire.post(LOGIN, status_code=status, text=text)
    for _ in range(3):
        with pytest.raises(errors.IdmcAuthenticationError):
            session.login()
    assert logins(wire) == 1


@pytest.mark.parametrize("text", [HTML, "<p>JSESSIONID=1 is blocked</p>", "\ufeff" + HTML], ids=["plain", "id", "bom"])
@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_the_page_of_a_gateway_is_not_taken_for_a_wrong_password(
    wire: Mocker, session: Session, clock: Clock, status: int, text: str
) -> None:
    """Nor for an outage: the Host of the connection may be wrong."""
    wire.post(LOGIN, [{"status_code": status, "text": text}, {"json": login_answer()}])
    with pytest.raises(errors.IdmcAnswerError, match=f"HTTP {status}") as caught:
        session.login()
    assert not caught.value.transient
    assert clock.sleeps == []
    assert session.login().org_name == ORG


def test_a_wrong_password_is_tried_once_by_all_threads(wire: Mocker, session: Session) -> None:
    wire.post(LOGIN, status_code=400, json=REFUSALS["v3"][1])
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(session.get_json, "/things") for _ in range(16)]:
            assert isinstance(future.exception(), errors.IdmcAuthenticationError)
    assert logins(wire) == 1


def test_the_second_error_is_not_the_same_object(wire: Mocker, session: Session) -> None:
    """Raised again and again, one exception would gather the tracebacks of all threads."""
    wire.post(LOGIN, status_code=400, json=REFUSALS["v3"][1])
    raised = []
    for _ in range(3):
        with pytest.raises(errors.IdmcAuthenticationError) as caught:
            session.login()
        raised.append(caught.value)
    assert len({id(error) for error in raised}) == 3
    assert len({str(error) for error in raised}) == 1
    assert {error.request_id for error in raised} == {"cs9m3vCQqHLhFvEAdCM3sI"}


@pytest.mark.parametrize(
    "trouble",
    [
        {"status_code": 503, "text": HTML},
        {"status_code": 200, "text": HTML},
        {"status_code": 429, "json": {}},
        {"status_code": 500, "json": {}},
        {"status_code": 400, "text": "Too many requests"},
    ],
)
def test_login_survives_an_outage(wire: Mocker, session: Session, clock: Clock, trouble: dict[str, Any]) -> None:
    wire.post(LOGIN, [trouble, trouble, {"json": login_answer()}])
    assert session.login().org_name == ORG
    assert len(clock.sleeps) == 2


def test_login_gives_up_after_the_timeout(wire: Mocker, clock: Clock) -> None:
    wire.post(LOGIN, status_code=503, text=HTML)
    session = new_session(clock, retry_timeout=60.0)
    with pytest.raises(errors.IdmcUnavailableError, match="503 Service Unavailable Maintenance"):
        session.get_json("/things")
    assert clock.now - 1000 <= 60
    assert len(clock.sleeps) >= 4
    # Unlike a refusal, an outage is over one day.
    wire.post(LOGIN, json=login_answer())
    assert session.login().org_name == ORG


# threads and renewal ----------------------------------------------------------------------------------------------


def in_threads(number: int, call: Callable[[], Any]) -> list[Any]:
    """Run something in as many threads; results or exceptions."""
    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(call) for _ in range(number)]
    return [future.exception() or future.result() for future in futures]


def test_one_login_for_many_threads(clock: Clock) -> None:
    with TinyIdmc(lambda request: Answer(body={"ok": True})) as idmc, new_session(clock, idmc.server.url) as session:
        assert in_threads(12, lambda: session.get_json("/things")) == [{"ok": True}] * 12
        assert idmc.logins == 1
        assert {r.session_id for r in idmc.calls} == {"session-1"}
        session.close()
        assert idmc.server.count("/logout") == 1


class Expiring:
    """An API that stops accepting sessions once ``gather`` requests with the same one are there, all at once."""

    def __init__(self, good_from: int, gather: int) -> None:
        self._good_from = good_from
        self._gather = gather
        self._barriers: dict[str, threading.Barrier] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Received) -> Answer:
        name = request.session_id or ""
        if int(name.rpartition("-")[2]) >= self._good_from:
            return Answer(body={"ok": True})
        with self._lock:
            barrier = self._barriers.setdefault(name, threading.Barrier(self._gather))
        with contextlib.suppress(threading.BrokenBarrierError):
            # All meet on the first two sessions; on further ones, which there should not be, nobody waits for long.
            barrier.wait(timeout=5 if name in ("session-1", "session-2") else 0.05)
        return Answer(401, error_body("AUTH_01", "Session expired."))


def test_one_new_login_for_all_waiters(clock: Clock) -> None:
    """All calls learn at the same moment that the session is gone."""
    with TinyIdmc(Expiring(good_from=2, gather=8)) as idmc, new_session(clock, idmc.server.url) as session:
        assert in_threads(8, lambda: session.get_json("/things")) == [{"ok": True}] * 8
        assert idmc.logins == 2
        assert sorted(str(r.session_id) for r in idmc.calls) == ["session-1"] * 8 + ["session-2"] * 8
    assert clock.sleeps == []


def test_a_session_that_expires_again_and_again(wire: Mocker, session: Session) -> None:
    """Each new session is accepted for a while: then a further login is right, as often as it takes.

    A triggerer that runs for a week logs in hundreds of times.
    """
    wire.post(LOGIN, [{"json": login_answer(f"session-{n}")} for n in range(201)])
    for _ in range(200):
        wire.get(THINGS, [{"status_code": 401, "json": {}}, {"json": {"ok": True}}])
        assert session.get_json("/things") == {"ok": True}
    assert logins(wire) == 201


def test_a_session_that_is_never_accepted_makes_two_logins(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(THINGS, status_code=401, json=error_body("AUTH_01", "Session is invalid."))
    with pytest.raises(errors.IdmcSessionError, match=r"AUTH_01.*requestId cs9m3vCQqHLhFvEAdCM3sI") as caught:
        session.get_json("/things")
    assert (caught.value.status, caught.value.code) == (401, "AUTH_01")
    # The login was not refused: the task's retries, or a look later on, may get through.
    assert caught.value.transient
    assert session.refusal is None
    assert (logins(wire), tries(wire)) == (2, 2)
    assert clock.sleeps == []


def test_sessions_that_were_never_accepted_are_logged_out(wire: Mocker, session: Session) -> None:
    wire.post(LOGIN, [{"json": login_answer(f"session-{n}")} for n in range(4)])
    wire.get(THINGS, status_code=401, json=error_body("AUTH_01", "Session is invalid."))
    for _ in range(3):
        with pytest.raises(errors.IdmcSessionError):
            session.get_json("/things")
    assert logged_out(wire) == ["session-0", "session-1", "session-2"]
    session.close()
    assert logged_out(wire) == [f"session-{n}" for n in range(4)]


def test_an_expired_session_is_not_logged_out(wire: Mocker, session: Session) -> None:
    wire.post(LOGIN, [{"json": login_answer(f"session-{n}")} for n in range(2)])
    wire.get(THINGS, [{"json": {}}, {"status_code": 401, "json": {}}, {"json": {}}])
    session.get_json("/things")
    session.get_json("/things")
    session.close()
    assert logged_out(wire) == ["session-1"]


def test_what_is_accepted_again_after_two_useless_logins(wire: Mocker, session: Session) -> None:
    """Sessions from the time of the trouble stay worthless; the next call must be able to get a new one."""
    issued: list[str] = []
    trouble = True

    def login(request: Any, context: Any) -> dict[str, Any]:
        issued.append(f"{'bad' if trouble else 'good'}-{len(issued)}")
        return login_answer(issued[-1])

    def respond(request: Any, context: Any) -> dict[str, Any]:
        context.status_code = 401 if request.headers["INFA-SESSION-ID"].startswith("bad") else 200
        return {}

    wire.post(LOGIN, json=login)
    wire.get(THINGS, json=respond)
    with pytest.raises(errors.IdmcSessionError):
        session.get_json("/things")
    trouble = False
    assert session.get_json("/things") == {}
    assert issued == ["bad-0", "bad-1", "good-2"]


def test_a_session_that_is_never_accepted_makes_few_logins_in_many_threads(clock: Clock) -> None:
    """A login of another thread counts: otherwise each thread has yet another one to try."""
    with TinyIdmc(Expiring(good_from=10**6, gather=8)) as idmc, new_session(clock, idmc.server.url) as session:
        results = in_threads(8, lambda: session.get_json("/things"))
        assert all(isinstance(r, errors.IdmcSessionError) for r in results)
        assert idmc.logins == 2


def test_a_call_that_alone_is_not_accepted_ends(wire: Mocker, session: Session) -> None:
    """Other calls get through, this one never: it must not log in for ever."""
    wire.get(f"{V3}/fine", json={})

    def refuse(request: Any, context: Any) -> dict[str, Any]:
        session.get_json("/fine")
        context.status_code = 401
        return {}

    wire.get(THINGS, json=refuse)
    with pytest.raises(errors.IdmcSessionError):
        session.get_json("/things")
    assert 2 <= logins(wire) <= 10


def test_401_of_an_upload_and_a_download(wire: Mocker, session: Session, tmp_path: Path) -> None:
    source = tmp_path / "a.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("x", b"y" * 1000)
    bodies: list[bytes] = []

    def receive(request: Any, context: Any) -> dict[str, Any]:
        bodies.append(request.body.read())
        context.status_code = 401 if len(bodies) == 1 else 200
        return {}

    wire.post(THINGS, json=receive)
    session.upload("/things", source, field="package")
    # The body begins from the start again.
    assert [source.read_bytes() in body for body in bodies] == [True, True]
    wire.get(THINGS, [{"status_code": 401, "json": {}}, {"content": source.read_bytes()}])
    assert session.download("/things", tmp_path / "b.zip").size == source.stat().st_size
    assert (tmp_path / "b.zip").read_bytes() == source.read_bytes()
    assert logins(wire) == 3


# failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ({"status_code": 400, "json": error_body("V3API_007", "Bad.")}, errors.IdmcRequestError, "V3API_007"),
        (
            {"status_code": 403, "json": error_body("MigrationSvc_040", "No.")},
            errors.IdmcPermissionError,
            "MigrationSvc_040",
        ),
        ({"status_code": 404, "json": error_body("X", "No.")}, errors.IdmcNotFoundError, "X"),
        ({"status_code": 409, "json": error_body("X", "No.")}, errors.IdmcConflictError, "X"),
        ({"status_code": 404, "json": {"error": {"message": "No."}}}, errors.IdmcNotFoundError, None),
        ({"status_code": 404, "json": {"errors": [{"code": "X", "detail": "No."}]}}, errors.IdmcNotFoundError, "X"),
        ({"status_code": 200, "json": error_body("X", "No.")}, errors.IdmcRequestError, "X"),
        (
            {"status_code": 403, "json": {"@type": "error", "code": "APP_13436", "description": "No."}},
            errors.IdmcPermissionError,
            "APP_13436",
        ),
    ],
)
@pytest.mark.parametrize("once", [False, True])
def test_refusals_are_final(
    wire: Mocker,
    session: Session,
    clock: Clock,
    answer: dict[str, Any],
    kind: type[errors.IdmcError],
    code: str | None,
    once: bool,
) -> None:
    wire.post(THINGS, **answer)
    with pytest.raises(errors.IdmcError) as caught:
        session.post_json("/things", {}, kind=Kind.ONCE if once else Kind.REPEATABLE)
    error = caught.value
    assert type(error) is kind
    assert error.code == code
    assert error.request_id == ("cs9m3vCQqHLhFvEAdCM3sI" if "requestId" in json.dumps(answer) else None)
    assert not error.transient
    assert f"POST /public/core/v3/things in org {ORG}" in str(error)
    assert (tries(wire), clock.sleeps) == (1, [])


@pytest.mark.parametrize("status", [302, 400, 403, 404, 409, 415])
@pytest.mark.parametrize("text", [HTML, "no such page", "", '{"message": "no Route matched with those values"}'])
@pytest.mark.parametrize("once", [False, True])
def test_what_a_gateway_refuses_is_left_to_the_retries_of_the_task(
    wire: Mocker, session: Session, clock: Clock, status: int, text: str, once: bool
) -> None:
    """The login was good, so the Host is right, and the gateway may let the call through later."""
    wire.post(THINGS, status_code=status, text=text)
    with pytest.raises(errors.IdmcUnavailableError, match=f"things in org {ORG}: HTTP {status}") as caught:
        session.post_json("/things", {}, kind=Kind.ONCE if once else Kind.REPEATABLE)
    assert (caught.value.transient, caught.value.code) == (True, None)
    assert (tries(wire), clock.sleeps) == (1, [])


PASSING = {
    "503 page": {"status_code": 503, "text": HTML},
    "502": {"status_code": 502},
    "504": {"status_code": 504, "text": "upstream timeout"},
    "408 page": {"status_code": 408, "text": HTML},
    "408": {"status_code": 408, "json": error_body("X", "Took too long.")},
    "200 page": {"status_code": 200, "text": HTML},
    "200 empty": {"status_code": 200, "text": ""},
    "cut JSON": {"status_code": 200, "text": '{"count": 2, "objects": [{"id": "a'},
    "500": {"status_code": 500, "json": error_body("X", "Oops.")},
    "429": {"status_code": 429, "json": error_body("X", "Too many requests")},
    "throttled by words": {"status_code": 403, "text": "too many requests"},
    "throttled under a good status": {"status_code": 200, "json": error_body("X", "Too many requests.")},
    "invalid UTF-8": {"status_code": 200, "content": b"\xff\xfe{}"},
    "deep nesting": {"status_code": 200, "text": "[" * 100_000},
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=list(PASSING))
def test_passing_troubles_are_waited_for(
    wire: Mocker, session: Session, clock: Clock, answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    wire.get(THINGS, [answer, answer, {"json": {"ok": True}}])
    assert session.get_json("/things") == {"ok": True}
    assert tries(wire) == 3
    assert len(clock.sleeps) == 2
    assert clock.sleeps[0] < 1
    assert caplog.text.count("GET /public/core/v3/things: ") == 2
    assert logins(wire) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("503 page", errors.IdmcUnavailableError),
        ("408", errors.IdmcUnavailableError),
        ("200 page", errors.IdmcUnavailableError),
        ("cut JSON", errors.IdmcUnavailableError),
        ("500", errors.IdmcUnavailableError),
        ("429", errors.IdmcThrottledError),
        ("throttled by words", errors.IdmcThrottledError),
    ],
)
def test_lasting_troubles_are_given_up(wire: Mocker, clock: Clock, name: str, kind: type[errors.IdmcError]) -> None:
    wire.get(THINGS, **PASSING[name])
    session = new_session(clock, retry_timeout=100.0)
    with pytest.raises(kind, match=r"given up after \d+ tries") as caught:
        session.get_json("/things")
    assert type(caught.value) is kind
    assert caught.value.transient
    assert clock.now - 1000 <= 100
    assert tries(wire) == len(clock.sleeps) + 1
    assert tries(wire) == (3 if name == "500" else tries(wire))


def test_only_server_errors_count_as_such(wire: Mocker, session: Session) -> None:
    names = ["503 page", "429", "500", "503 page", "500"]
    wire.get(THINGS, [*map(PASSING.get, names), {"json": {"ok": True}}])
    assert session.get_json("/things") == {"ok": True}


@pytest.mark.parametrize(
    "name",
    [
        "503 page",
        "502",
        "504",
        "408 page",
        "408",
        "200 page",
        "200 empty",
        "cut JSON",
        "500",
        "invalid UTF-8",
        "deep nesting",
    ],
)
def test_a_call_that_must_happen_once_is_not_repeated(wire: Mocker, session: Session, clock: Clock, name: str) -> None:
    wire.post(THINGS, **PASSING[name])
    with pytest.raises(errors.IdmcOutcomeUnknownError) as caught:
        session.post_json("/things", {}, kind=Kind.ONCE)
    assert caught.value.transient
    assert (tries(wire), clock.sleeps) == (1, [])


@pytest.mark.parametrize("name", ["429", "throttled by words", "throttled under a good status"])
def test_a_call_that_must_happen_once_is_repeated_when_it_was_throttled(
    wire: Mocker, session: Session, name: str
) -> None:
    wire.post(THINGS, [PASSING[name], {"status_code": 401, "json": {}}, {"json": {"ok": True}}])
    assert session.post_json("/things", {}, kind=Kind.ONCE) == {"ok": True}


def test_retry_after(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(
        THINGS,
        [
            {"status_code": 429, "headers": {"Retry-After": "17"}},
            {"status_code": 503, "headers": {"Retry-After": "3"}, "text": HTML},
            {"json": {}},
        ],
    )
    session.get_json("/things")
    assert clock.sleeps == [17.0, 3.0]


def test_retry_after_beyond_the_timeout(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(THINGS, status_code=429, headers={"Retry-After": "3600"}, json={})
    with pytest.raises(errors.IdmcThrottledError):
        session.get_json("/things")
    assert clock.sleeps == []


def test_no_content_is_an_answer(wire: Mocker, session: Session) -> None:
    wire.post(THINGS, status_code=204)
    assert session.post_json("/things", {}) is None


def test_text(wire: Mocker, session: Session, clock: Clock) -> None:
    log_text = "> OIE_002 INFO Grüße: too many requests were <b>not</b> made\n"
    wire.get(THINGS, [{"text": HTML}, {"text": "  <!DOCTYPE html>"}, {"content": log_text.encode()}, {"text": ""}])
    assert session.get_text("/things") == log_text
    assert len(clock.sleeps) == 2
    assert session.get_text("/things") == ""


def test_html_by_its_content_type(wire: Mocker, session: Session, clock: Clock) -> None:
    page = {"text": "Please sign in", "headers": {"Content-Type": "text/html;charset=utf-8"}}
    wire.get(THINGS, [page, {"text": "log"}])
    assert session.get_text("/things") == "log"


# what only a real connection shows --------------------------------------------------------------------------------


@pytest.fixture
def answers() -> list[Answer]:
    """Answers to the calls, one after another; then good ones."""
    return []


@pytest.fixture
def idmc(answers: list[Answer]) -> Iterator[TinyIdmc]:
    with TinyIdmc(lambda request: answers.pop(0) if answers else Answer(body={"ok": True})) as idmc:
        yield idmc


DROPPED = Answer(body=None)
SHORT = Answer(body=b'{"ok": true}', announced=400)
GARBAGE = Answer(raw=b"\x15\x03\x01\x00\x02\x02\x46")
CUT_CHUNKS = Answer(raw=b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ok"\r\n')
LOST = [DROPPED, SHORT, GARBAGE, CUT_CHUNKS]


@pytest.mark.parametrize("lost", LOST, ids=["dropped", "short", "garbage", "cut chunks"])
def test_lost_answers_are_repeated(clock: Clock, idmc: TinyIdmc, answers: list[Answer], lost: Answer) -> None:
    with new_session(clock, idmc.server.url) as session:
        session.login()
        answers += [lost, lost]
        assert session.get_json("/things") == {"ok": True}
        assert len(idmc.calls) == 3
        assert len(clock.sleeps) == 2


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        (DROPPED, "Remote end closed connection without response"),
        (SHORT, "IncompleteRead"),
        (GARBAGE, "the rest of it can't be read"),
        (CUT_CHUNKS, "the rest of it can't be read"),
    ],
    ids=["dropped", "short", "garbage", "cut chunks"],
)
def test_lost_answers_leave_the_outcome_unknown(
    clock: Clock, idmc: TinyIdmc, answers: list[Answer], lost: Answer, how: str
) -> None:
    with new_session(clock, idmc.server.url) as session:
        answers += [lost]
        with pytest.raises(errors.IdmcOutcomeUnknownError, match=f"lost before the answer was complete: .*{how}"):
            session.post_json("/things", {}, kind=Kind.ONCE)
        assert len(idmc.calls) == 1


def test_read_timeout(clock: Clock) -> None:
    release = threading.Event()

    def respond(request: Received) -> Answer:
        release.wait(5)
        return Answer(body={})

    with TinyIdmc(respond) as idmc, new_session(clock, idmc.server.url, read_timeout=0.05) as session:
        with pytest.raises(errors.IdmcOutcomeUnknownError, match="timed out"):
            session.post_json("/things", {}, kind=Kind.ONCE)
        release.set()


def test_no_connection_is_repeated_for_every_kind_of_call(clock: Clock) -> None:
    with TinyServer(lambda request: Answer()) as gone:
        pass
    session = new_session(clock, gone.url, retry_timeout=20.0)
    with pytest.raises(errors.IdmcUnavailableError, match=f"could not connect to {gone.url[7:]}") as caught:
        session.post_json("/things", {}, kind=Kind.ONCE)
    assert len(clock.sleeps) > 3
    assert " object at 0x" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("where", "kind"), [("login", errors.IdmcAnswerError), ("call", errors.IdmcUnavailableError)])
def test_redirects_are_not_followed(clock: Clock, status: int, where: str, kind: type[errors.IdmcError]) -> None:
    with TinyServer(lambda request: Answer(body=login_answer())) as other:

        def respond(request: Received) -> Answer:
            if where == "login" or not request.path.endswith("/login"):
                return Answer(status, headers={"Location": f"{other.url}/elsewhere"})
            return Answer(body=login_answer(api_base=f"{server.url}/saas"))

        with TinyServer(respond) as server:
            session = new_session(clock, server.url)
            with pytest.raises(kind, match=f"redirects to {other.url[7:]}") as caught:
                session.get_json("/things")
            assert caught.value.status == status
        assert other.requests == []
    assert clock.sleeps == []


def test_netrc_is_not_used(clock: Clock, idmc: TinyIdmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password not-a-secret-either\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with new_session(clock, idmc.server.url) as session:
        session.get_json("/things")
    assert len(idmc.server.requests) == 3
    assert not [r for r in idmc.server.requests if "authorization" in r.headers]


def test_cookies_are_not_sent_back(clock: Clock, idmc: TinyIdmc, answers: list[Answer]) -> None:
    with new_session(clock, idmc.server.url) as session:
        answers += [Answer(body={}, headers={"Set-Cookie": "USER_SESSION=old; Path=/"})] * 2
        for _ in range(3):
            session.get_json("/things")
    assert not [r for r in idmc.server.requests if "cookie" in r.headers]


def test_user_agent(clock: Clock, idmc: TinyIdmc) -> None:
    with new_session(clock, idmc.server.url) as session:
        session.get_json("/things")
    assert {r.headers["user-agent"] for r in idmc.server.requests} == {f"airflow-provider-infa/{__version__}"}


def test_every_request_has_timeouts(wire: Mocker, clock: Clock, tmp_path: Path) -> None:
    source = tmp_path / "a.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("x", b"y")
    wire.get(THINGS, json={})
    wire.post(THINGS, json={})
    wire.get(f"{V3}/text", text="log")
    wire.get(f"{V3}/zip", content=source.read_bytes())
    with new_session(clock, connect_timeout=3.0, read_timeout=33.0) as session:
        session.get_json("/things")
        session.get_text("/text")
        session.post_json("/things", {}, read_timeout=99.0)
        session.upload("/things", source, field="package")
        session.download("/zip", tmp_path / "b.zip")
    found = [(r.url.rpartition("/")[2], r.timeout) for r in wire.request_history]
    assert found == [
        ("login", (3.0, 33.0)),
        ("things", (3.0, 33.0)),
        ("text", (3.0, 33.0)),
        ("things", (3.0, 99.0)),
        ("things", (3.0, 33.0)),
        ("zip", (3.0, 33.0)),
        ("logout", (3.0, 10.0)),
    ]


def test_certificates_are_checked_as_the_settings_say(
    wire: Mocker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for verify in (True, False, "/etc/ssl/own.pem"):
        new_session(clock, verify=verify).login()
    assert [r.verify for r in wire.request_history] == [True, False, "/etc/ssl/own.pem"]


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_are_checked_as_the_environment_says(
    wire: Mocker, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "/etc/ssl/everybody.pem")
    for verify in (True, False, "/etc/ssl/own.pem"):
        new_session(clock, verify=verify).login()
    assert [r.verify for r in wire.request_history] == ["/etc/ssl/everybody.pem", False, "/etc/ssl/own.pem"]


def test_proxies_of_the_environment_are_used(clock: Clock, idmc: TinyIdmc, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on that port: only the proxy can answer.
    monkeypatch.setenv("HTTP_PROXY", idmc.server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with new_session(clock, "http://idmc.localhost:9") as session:
        session.get_json("/things")
    login, call, logout = idmc.server.requests
    assert login.path.startswith("http://idmc.localhost:9/")
    assert logout.path.startswith("http://idmc.localhost:9/")
    # The API host that the login named is one that the environment excepts.
    assert call.path == "/saas/public/core/v3/things"


def test_ca_bundle_that_does_not_exist(clock: Clock) -> None:
    session = new_session(clock, "https://localhost:9", verify="/nowhere/own.pem")
    with pytest.raises(errors.IdmcSettingsError, match=r"/nowhere/own\.pem"):
        session.login()
    assert clock.sleeps == []


@pytest.mark.parametrize("trusted", [False, True])
def test_certificate_of_an_own_authority(
    clock: Clock, certificate: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with TinyServer(lambda request: Answer(body=login_answer(api_base=f"{url}/saas")), tls=certificate) as server:
        url = server.url
        session = new_session(clock, url, verify=str(certificate) if trusted else True)
        if trusted:
            assert session.login().org_name == ORG
            return
        with pytest.raises(errors.IdmcSettingsError, match=r"is not trusted.*CA bundle") as caught:
            session.login()
        assert not caught.value.transient
        assert server.requests == []
    assert clock.sleeps == []


# downloads and uploads --------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "größe & co.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Explore/a", bytes(range(256)) * 3000)
    return path


def test_upload_on_the_wire(wire: Mocker, session: Session, package: Path) -> None:
    bodies: list[bytes] = []

    def receive(request: Any, context: Any) -> dict[str, Any]:
        bodies.append(request.body.read())
        return {"jobId": "j"}

    wire.post(THINGS, json=receive)
    assert session.upload("/things", package, field="package", params={"relaxChecksum": "true"}) == {"jobId": "j"}
    request = wire.request_history[-1]
    assert request.url == f"{THINGS}?relaxChecksum=true"
    kind = re.fullmatch(r"multipart/form-data; boundary=(\w+)", request.headers["Content-Type"])
    assert kind
    assert int(request.headers["Content-Length"]) == len(bodies[0])
    _, part, end = bodies[0].split(b"--" + kind[1].encode())
    head, _, content = part.partition(b"\r\n\r\n")
    assert b'name="package"' in head
    assert b"Content-Type: application/zip" in head
    assert b"filename" in head
    assert content == package.read_bytes() + b"\r\n"
    assert end == b"--\r\n"


def test_download(wire: Mocker, session: Session, package: Path, tmp_path: Path) -> None:
    data = package.read_bytes()
    wire.get(THINGS, content=data, headers={"Content-Length": str(len(data))})
    got = session.download("/things", tmp_path / "got.zip")
    assert (got.path, got.size, got.sha256) == (tmp_path / "got.zip", len(data), hashlib.sha256(data).hexdigest())
    assert got.path.read_bytes() == data
    assert wire.request_history[-1].headers["Accept"] == "application/zip"


def test_download_in_tiny_pieces(clock: Clock, idmc: TinyIdmc, answers: list[Answer], package: Path) -> None:
    """A chunked answer may begin with a piece of one byte."""
    data = package.read_bytes()
    pieces = [data[:1], data[1:3], data[3:]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    answers += [Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")]
    with new_session(clock, idmc.server.url) as session:
        session.download("/things", package.with_name("got.zip"))
    assert package.with_name("got.zip").read_bytes() == data
    assert len(idmc.calls) == 1


def test_download_that_is_cut_off_starts_again(
    clock: Clock, idmc: TinyIdmc, answers: list[Answer], package: Path
) -> None:
    data = package.read_bytes()
    cut = len(data) // 2
    answers += [Answer(body=data[:cut], announced=len(data)), Answer(body=data[:cut]), Answer(body=data)]
    target = package.with_name("got.zip")
    with new_session(clock, idmc.server.url) as session:
        assert session.download("/things", target).size == len(data)
    assert target.read_bytes() == data
    assert len(clock.sleeps) == 2


def test_download_shorter_than_announced_is_cut_off_even_if_it_is_a_zip(
    wire: Mocker, session: Session, clock: Clock, package: Path, tmp_path: Path
) -> None:
    data = package.read_bytes()
    wire.get(
        THINGS,
        [{"content": data, "headers": {"Content-Length": str(len(data) + n)}} for n in (7, 0)],
    )
    assert session.download("/things", tmp_path / "got.zip").size == len(data)
    assert len(clock.sleeps) == 1


def test_download_that_stays_cut_off(wire: Mocker, session: Session, package: Path, tmp_path: Path) -> None:
    wire.get(THINGS, content=package.read_bytes()[:-30])
    with pytest.raises(errors.IdmcPackageError, match="cut off"):
        session.download("/things", tmp_path / "got.zip")
    assert tries(wire) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"content": b"something else"}, errors.IdmcPackageError, "something else"),
        ({"text": HTML}, errors.IdmcUnavailableError, "Maintenance"),
        ({"json": {"status": {"state": "IN_PROGRESS"}}}, errors.IdmcUnavailableError, "IN_PROGRESS"),
        ({"json": error_body("X", "Not finished.")}, errors.IdmcRequestError, "Not finished"),
        ({"content": b""}, errors.IdmcUnavailableError, "200"),
        ({"status_code": 404, "json": error_body("X", "No job.")}, errors.IdmcNotFoundError, "No job"),
        ({"status_code": 503, "text": HTML}, errors.IdmcUnavailableError, "503"),
        ({"status_code": 500, "content": b"PK\x03\x04"}, errors.IdmcUnavailableError, "500"),
    ],
)
def test_download_of_no_package(
    wire: Mocker, session: Session, tmp_path: Path, answer: dict[str, Any], kind: type[errors.IdmcError], words: str
) -> None:
    wire.get(THINGS, **answer)
    with pytest.raises(kind, match=words):
        session.download("/things", tmp_path / "got.zip")


# secrets ----------------------------------------------------------------------------------------------------------


def echo(*secrets: str) -> dict[str, list[dict[str, Any]]]:
    """Error answers of servers that repeat what they were sent."""
    text = " / ".join(secrets)
    return {
        "v3 error": [{"status_code": 400, "json": error_body("X_1", f"Got {text}.")}],
        "v3 details": [
            {"status_code": 400, "json": {"error": {"code": "X", "message": "m", "details": [{"message": text}]}}}
        ],
        "page": [{"status_code": 503, "text": f"<html><body>Got {text} here</body></html>"}],
        "text": [{"status_code": 500, "text": f"Got {text} here"}],
        "unreadable": [{"status_code": 200, "text": f"Got {text} here"}],
        "throttled": [{"status_code": 429, "text": f"too many requests of {text}"}],
        # Only the first words are shown; what is cut there must not be half a secret.
        "at the cut": [{"status_code": 503, "text": "x " * 75 + text}],
        "in many blanks": [{"status_code": 503, "text": "\n\n  ".join(["Got", *secrets, "here"])}],
    }


def check_clean(text: str, *secrets: str) -> None:
    for secret in secrets:
        assert secret not in text
        # The beginning of one is too much as well.
        assert secret[:9] not in text


@pytest.mark.parametrize("name", echo("x"))
def test_secrets_that_a_call_echoes(wire: Mocker, clock: Clock, caplog: pytest.LogCaptureFixture, name: str) -> None:
    wire.get(THINGS, echo(SESSION_ID, PASSWORD)[name])
    session = new_session(clock, retry_timeout=2.0)
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.IdmcError) as caught:
        session.get_json("/things")
    error = caught.value
    for text in (str(error), repr(error), repr(error.args), caplog.text, repr(session), repr(session.login())):
        check_clean(text, SESSION_ID, PASSWORD)


@pytest.mark.parametrize("name", echo("x"))
def test_secrets_that_a_login_echoes(wire: Mocker, clock: Clock, caplog: pytest.LogCaptureFixture, name: str) -> None:
    wire.post(LOGIN, echo(PASSWORD)[name])
    session = new_session(clock, retry_timeout=2.0)
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.IdmcError) as caught:
        session.login()
    for text in (str(caught.value), repr(caught.value), caplog.text, repr(session.settings)):
        check_clean(text, PASSWORD)


@pytest.mark.parametrize("password", ["not <a> secret", "not  a\tsecret", "not&amp;a secret"])
def test_odd_passwords_are_found_in_pages_too(wire: Mocker, clock: Clock, password: str) -> None:
    """A page is shown without its markup and runs of blanks: the password must be found before that."""
    wire.post(LOGIN, status_code=503, text=f"<html><body>Wrong: {password}</body></html>")
    session = Session(
        dataclasses.replace(settings(), password=password, retry_timeout=0.0), sleep=clock.sleep, clock=clock
    )
    with pytest.raises(errors.IdmcUnavailableError) as caught:
        session.login()
    assert "secret" not in str(caught.value)


#: Answers that are no HTTP, with something in them that nobody may see.
NO_HTTP = {
    "status line": "secret-7 200 OK\r\n\r\n",
    "version": "HTTP/secret-7 200 OK\r\n\r\n",
    "header": "HTTP/1.1 200 OK\r\nContent-Length: secret-7\r\nTransfer-Encoding: secret-7\r\n\r\n",
    "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret-7\r\n\r\n",
    "encoding": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, secret-7\r\nContent-Length: 8\r\n\r\nsecret-7",
    "many headers": "HTTP/1.1 200 OK\r\n" + "secret-7: secret-7\r\n" * 200 + "\r\n",
    "long header": "HTTP/1.1 200 OK\r\nsecret-7: " + "secret-7" * 10_000 + "\r\n\r\n",
}


@pytest.mark.parametrize("where", ["login", "call"])
@pytest.mark.parametrize("name", NO_HTTP)
def test_nothing_of_an_answer_that_is_no_http_is_shown(
    clock: Clock, caplog: pytest.LogCaptureFixture, name: str, where: str
) -> None:
    """A session id that nobody knows yet may be anywhere in it."""

    def respond(request: Received) -> Answer:
        if where == "call" and request.path.endswith("/login"):
            return Answer(body=login_answer(api_base=f"{server.url}/saas"))
        return Answer(raw=NO_HTTP[name].encode())

    with TinyServer(respond) as server, caplog.at_level(logging.DEBUG):
        session = new_session(clock, server.url, retry_timeout=2.0)
        with pytest.raises(errors.IdmcError) as caught:
            session.get_json("/things")
        session.close()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "secret-7" not in shown
    assert server.url[7:] in shown


def test_the_id_of_a_session_that_was_renewed_meanwhile(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A slow call with the old session ends in an echo after another thread has logged in anew."""
    slow_arrived, renewed = threading.Event(), threading.Event()

    def respond(request: Received) -> Answer:
        if request.path.endswith("/slow"):
            slow_arrived.set()
            renewed.wait(5)
            return Answer(400, error_body("X", f"Bad session {request.session_id}"))
        if request.session_id == "session-1":
            return Answer(401, {})
        return Answer(body={"ok": True})

    with TinyIdmc(respond) as idmc, new_session(clock, idmc.server.url) as session, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(session.get_json, "/slow")
        assert slow_arrived.wait(5)
        assert session.get_json("/things") == {"ok": True}
        renewed.set()
        error = slow.exception()
    assert isinstance(error, errors.IdmcRequestError)
    check_clean(str(error), "session-1")


def test_no_secret_in_the_logs_of_a_whole_life(
    clock: Clock, idmc: TinyIdmc, answers: list[Answer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with new_session(clock, idmc.server.url) as session:
            session.login()
            answers += [Answer(401, {}), Answer(503, HTML), DROPPED]
            session.get_json("/things")
        session.close()
    assert "Logged in to org" in caplog.text
    assert "Logged out of org" in caplog.text
    check_clean(caplog.text, PASSWORD)
    assert "session-1" not in caplog.text
    assert "session-2" not in caplog.text
    assert idmc.logins == 2


def test_tracebacks_show_no_secret(wire: Mocker, session: Session) -> None:
    wire.get(THINGS, status_code=400, json=error_body("X", f"Got {SESSION_ID} and {PASSWORD}"))
    with pytest.raises(errors.IdmcRequestError) as caught:
        session.get_json("/things")
    text = "".join(traceback.format_exception(caught.value))
    check_clean(text, SESSION_ID, PASSWORD)


def test_login_goes_to_the_login_host_only(wire: Mocker, session: Session) -> None:
    wire.get(THINGS, json={})
    session.get_json("/things")
    assert [r.hostname for r in wire.request_history] == [LOGIN_HOST[8:], "usw5.dm-us.informaticacloud.com"]
    assert PASSWORD not in str(wire.request_history[-1].headers)


# the org that is expected -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [None, "", ORG, ORG_ID])
def test_the_expected_org(wire: Mocker, clock: Clock, expected: str | None) -> None:
    wire.get(THINGS, json={})
    with new_session(clock, expected_org=expected) as session:
        assert session.get_json("/things") == {}


@pytest.mark.parametrize("expected", ["ACME_PROD", ORG.lower(), f" {ORG}", ORG_ID.upper(), ORG[:-1], "*"])
def test_another_org_than_expected(wire: Mocker, clock: Clock, caplog: pytest.LogCaptureFixture, expected: str) -> None:
    """Nothing reaches it but login and logout."""
    session = new_session(clock, expected_org=expected)
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.IdmcWrongOrgError) as caught:
        session.get_json("/things")
    text = str(caught.value)
    assert f"{USER!r} leads to org {ORG!r} ({ORG_ID})" in text
    assert repr(expected) in text
    assert [r.url for r in wire.request_history] == [LOGIN, LOGOUT]
    assert wire.request_history[-1].headers["INFA-SESSION-ID"] == SESSION_ID
    session.close()
    assert len(wire.request_history) == 2
    check_clean(text + caplog.text, SESSION_ID, PASSWORD)
    assert not caught.value.transient


def test_an_org_that_tells_neither_name_nor_id(wire: Mocker, clock: Clock) -> None:
    """Who asks for a certain org must not get just any."""
    answer = login_answer()
    answer["userInfo"] |= {"orgId": None, "orgName": None}
    wire.post(LOGIN, json=answer)
    with pytest.raises(errors.IdmcWrongOrgError):
        new_session(clock, expected_org=ORG).login()


def test_the_org_is_looked_at_with_every_login(wire: Mocker, clock: Clock) -> None:
    """The user may have been moved meanwhile."""
    moved = login_answer("session-2")
    moved["userInfo"]["orgName"] = moved["userInfo"]["orgId"] = "elsewhere"
    wire.post(LOGIN, [{"json": login_answer()}, {"json": moved}])
    wire.get(THINGS, [{"status_code": 401, "json": {}}, {"json": {}}])
    with new_session(clock, expected_org=ORG) as session, pytest.raises(errors.IdmcWrongOrgError, match="elsewhere"):
        session.get_json("/things")
    assert tries(wire) == 1


# the interfaces ---------------------------------------------------------------------------------------------------

HOST = API_BASE.removesuffix("/saas")
CAI_HOST = "https://usw5-cai.dm-us.informaticacloud.com"
APIS = {
    Api.V3: (V3, "INFA-SESSION-ID"),
    Api.V2: (f"{API_BASE}/api/v2", "icSessionId"),
    Api.TASKFLOWS: (f"{HOST}/active-bpel", "INFA-SESSION-ID"),
    Api.CAI: (f"{CAI_HOST}/active-bpel", "INFA-SESSION-ID"),
}


@pytest.mark.parametrize("api", Api)
def test_each_interface_has_its_place_and_its_header(wire: Mocker, session: Session, api: Api) -> None:
    base, header = APIS[api]
    wire.get(f"{base}/things", json={"a": 1})
    wire.post(f"{base}/things", json={"b": 2})
    assert session.get_json("/things", {"q": "x y"}, api=api) == {"a": 1}
    assert session.post_json("/things", {}, api=api, media_type="application/x+json", headers={"Mode": "M"}) == {"b": 2}
    _, got, posted = wire.request_history
    assert got.url == f"{base}/things?q=x%20y"
    assert posted.headers["Content-Type"] == posted.headers["Accept"] == "application/x+json"
    assert posted.headers["Mode"] == "M"
    for sent in (got, posted):
        assert sent.headers[header] == SESSION_ID
        assert {"INFA-SESSION-ID", "icSessionId"} & {*sent.headers} == {header}


@pytest.mark.parametrize("api", Api)
def test_one_login_serves_all_interfaces(wire: Mocker, session: Session, api: Api) -> None:
    """Also a session that one of them no longer accepts."""
    for each, (base, _) in APIS.items():
        answers = [{"status_code": 401, "json": {}}, {"json": {}}] if each is api else [{"json": {}}]
        wire.get(f"{base}/things", answers)
    for each in Api:
        session.get_json("/things", api=each)
    assert logins(wire) == 2


@pytest.mark.parametrize("api", Api)
def test_errors_of_each_interface_are_read_and_clean(wire: Mocker, session: Session, api: Api) -> None:
    base, _ = APIS[api]
    body = {"@type": "error", "code": "APP_1", "description": f"Bad {SESSION_ID} of {PASSWORD}", "statusCode": 400}
    wire.get(f"{base}/things", status_code=400, json=body)
    with pytest.raises(errors.IdmcRequestError, match="APP_1: Bad") as caught:
        session.get_json("/things", api=api)
    assert caught.value.code == "APP_1"
    assert api.path in str(caught.value)
    check_clean(str(caught.value), SESSION_ID, PASSWORD)


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    ("base", "cai_url", "cai"),
    [
        ("https://na1.dm-us.informaticacloud.com/saas", None, "https://na1.ai.dm-us.informaticacloud.com"),
        ("http://127.0.0.1:8081/saas", None, "http://127.0.0.1:8081"),
        ("https://localhost/saas", None, "https://localhost"),
        ("https://usw5.dm-us.informaticacloud.com", None, "https://usw5-cai.dm-us.informaticacloud.com"),
        ("https://usw5.dm-us.informaticacloud.com/saas", "https://cai.corp.example", "https://cai.corp.example"),
    ],
)
def test_addresses(api: Api, base: str, cai_url: str | None, cai: str) -> None:
    host = base.removesuffix("/saas")
    assert (
        api.url(base, cai_url)
        == {
            Api.V3: f"{base}/public/core/v3",
            Api.V2: f"{base}/api/v2",
            Api.TASKFLOWS: f"{host}/active-bpel",
            Api.CAI: f"{cai}/active-bpel",
        }[api]
    )
