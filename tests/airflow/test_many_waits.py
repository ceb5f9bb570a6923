"""A thousand waits in one event loop: one login, few requests at a time, and a loop that is never blocked for long."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_infa.triggers import jobs, poller
from airflow_provider_infa.triggers.jobs import InfaJobTrigger

WAITS = 1_000


class Org:
    """As much of IDMC as waits need, and how many requests it has to answer at the same time."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.pause = 0.0
        #: Answers "too many requests" to come: after how many seconds, and the ``Retry-After``.
        self.refusals: list[tuple[float, float]] = []
        self.login_is_away = self.is_gone = False
        self.lock = threading.Lock()
        self.logins = self.logouts = self.in_flight = self.most = 0
        self.looks: Counter[str] = Counter()
        self.times: list[float] = []
        org = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/logout"):
                    with org.lock:
                        org.logouts += 1
                    return self.answer(200, {})
                with org.lock:
                    org.logins += 1
                if org.login_is_away:
                    return self.answer(503, {})
                user = {"sessionId": f"session-{org.logins}", "orgId": "1", "orgName": "ACME_TEST", "name": "deployer"}
                products = [{"name": "Integration Cloud", "baseApiUrl": f"{org.url}/saas"}]
                return self.answer(200, {"products": products, "userInfo": user})

            def do_GET(self) -> None:
                if org.is_gone:
                    self.close_connection = True
                    return None
                with org.lock:
                    org.in_flight += 1
                    org.most = max(org.most, org.in_flight)
                    org.times.append(time.monotonic())
                    pause, asked = org.refusals.pop(0) if org.refusals else (org.pause, None)
                    current = self.headers["INFA-SESSION-ID"] == f"session-{org.logins}"
                time.sleep(pause)
                with org.lock:
                    org.in_flight -= 1
                job_id = self.path.rpartition("/")[2]
                if asked:
                    return self.answer(429, {}, {"Retry-After": f"{asked:.0f}"})
                if not current:
                    return self.answer(401, {"error": {"code": "AUTH_01", "message": "Session expired."}})
                with org.lock:
                    org.looks[job_id] += 1
                state = "SUCCESSFUL" if org.over.is_set() else "IN_PROGRESS"
                return self.answer(200, {"id": job_id, "name": "n", "status": {"state": state, "message": "m"}})

            def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def expire(self) -> None:
        """Let the session die without a login."""
        with self.lock:
            self.logins += 1

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def org(connect):
    org = Org()
    connect_to(connect, org)
    yield org
    org.stop()


def connect_to(connect, org: Org) -> None:
    connect("infa_many", {"login": "deployer", "password": "not-a-secret", "host": org.url})


@pytest.fixture
async def block():
    """The longest time, in seconds, for which the event loop did nothing else."""
    longest = [0.0]

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest[0] = max(longest[0], time.monotonic() - began - 0.005)

    task = asyncio.ensure_future(watch())
    yield longest
    task.cancel()


def waits(number: int, interval: float = 2.0) -> list[asyncio.Future[dict]]:
    async def event(job_id: str) -> dict:
        return (await anext(InfaJobTrigger("infa_many", "import", job_id, interval, time.time() + 90).run())).payload

    return [asyncio.ensure_future(event(f"job{n}")) for n in range(number)]


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_thousand_waits(org, block):
    org.pause = 0.01
    waiting = waits(WAITS)
    await until(lambda: len(org.looks) == WAITS)
    assert org.logins == 1
    assert 1 < org.most <= poller.IN_FLIGHT == 16
    # That a thousand begin in one turn of the loop is this test's doing, not a triggerer's.
    block[0] = 0.0
    # The session dies under all of them: one of the two logins to come is the one that never was.
    org.expire()
    seen = sum(org.looks.values())
    await until(lambda: sum(org.looks.values()) >= seen + WAITS)
    assert org.logins == 3
    assert not any(wait.done() for wait in waiting)
    org.over.set()
    events = await asyncio.gather(*waiting)
    assert {(event["status"], event["state"]) for event in events} == {("ended", "SUCCESSFUL")}
    assert {event["job_id"] for event in events} == {f"job{n}" for n in range(WAITS)}
    await until(lambda: org.logouts)
    assert (org.logins, org.logouts, org.most <= 16) == (3, 1, True)
    assert poller._pollers == {}
    # Generous: these tests share the machine with others, and server and logs are in this process, too.
    assert block[0] < 2.0
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("infa-poller")])


async def test_a_thousand_waits_are_cancelled_at_once(org):
    waiting = waits(WAITS)
    await until(lambda: len(org.looks) > 100)
    for wait in waiting:
        wait.cancel()
    done, pending = await asyncio.wait(waiting, timeout=20)
    assert not pending
    assert all(wait.cancelled() for wait in done)
    assert poller._pollers == {}
    await until(lambda: org.logouts == org.logins == 1)


@pytest.mark.parametrize(("number", "pause"), [(20, 0.0), (200, 0.3)])
async def test_what_one_wait_is_asked_to_wait_all_keep_to(org, number, pause):
    # Of the many that ask a slow org, most queue for their turn when the answer comes.
    org.pause = pause
    waiting = waits(number, interval=0.1)
    await until(lambda: len(org.looks) == number)
    org.refusals = [(pause, 2.0)]
    await until(lambda: not org.refusals)
    struck = time.monotonic() + pause
    await asyncio.sleep(1.8 + pause)
    # What was under way when the answer came has arrived soon after it; then there is silence.
    assert [moment - struck for moment in org.times if struck + 0.5 < moment < struck + 1.7] == []
    seen = sum(org.looks.values())
    await until(lambda: sum(org.looks.values()) > seen + 40)
    assert not any(wait.done() for wait in waiting)
    org.over.set()
    assert {event["status"] for event in await asyncio.gather(*waiting)} == {"ended"}
    assert org.logins == 1


@pytest.mark.parametrize(("late", "total"), [(2.0, 2.3), (4.0, 4.0)])
async def test_a_late_answer_does_not_begin_the_silence_anew(org, late, total):
    org.pause = 0.2
    waiting = waits(20, interval=0.1)
    await until(lambda: len(org.looks) == 20)
    # Both are under way together; the second one is answered when the silence is almost over.
    org.refusals = [(0.3, 2.0), (1.5, late)]
    await until(lambda: not org.refusals)
    struck = time.monotonic()
    await asyncio.sleep(1.0)
    seen = len(org.times)
    await until(lambda: len(org.times) > seen)
    assert total - 0.3 < org.times[seen] - struck < total + 0.9
    org.over.set()
    assert {event["status"] for event in await asyncio.gather(*waiting)} == {"ended"}


async def test_an_outage_of_the_login_under_many_waits_is_a_handful_of_logins(org):
    waiting = waits(200, interval=0.1)
    await until(lambda: len(org.looks) == 200)
    org.login_is_away = True
    org.expire()
    before = org.logins
    await asyncio.sleep(3)
    # Each wait for itself would log in hundreds of times; the delays between these double from 20 ms on.
    assert 3 <= org.logins - before <= 15
    assert not any(wait.done() for wait in waiting)
    org.login_is_away = False
    org.over.set()
    assert {event["status"] for event in await asyncio.gather(*waiting)} == {"ended"}


async def test_a_corrected_host_is_taken_up_by_all(org, connect, monkeypatch):
    fetched = []
    fetch = jobs._fetch

    async def counted(conn_id):
        fetched.append(conn_id)
        return await fetch(conn_id)

    monkeypatch.setattr(jobs, "_fetch", counted)
    monkeypatch.setattr(jobs, "SHARED_FOR", 0.5)
    gone = Org()
    connect_to(connect, gone)
    waiting = waits(100, interval=0.1)
    await until(lambda: len(gone.looks) == 100)
    gone.is_gone = True
    gone.stop()
    await asyncio.sleep(1)
    assert not any(wait.done() for wait in waiting)
    connect_to(connect, org)
    await until(lambda: len(org.looks) == 100)
    org.over.set()
    assert {(event["status"], event["state"]) for event in await asyncio.gather(*waiting)} == {("ended", "SUCCESSFUL")}
    assert org.logins == 1
    assert len(fetched) < 20
    assert poller._pollers == {}
