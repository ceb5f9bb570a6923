"""What stands in for IDMC and for time in the unit tests."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests_mock

from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings

LOGIN_HOST = "https://dm-us.informaticacloud.com"
LOGIN = f"{LOGIN_HOST}/saas/public/core/v3/login"
LOGOUT = f"{LOGIN_HOST}/saas/public/core/v3/logout"
API_BASE = "https://usw5.dm-us.informaticacloud.com/saas"
V3 = f"{API_BASE}/public/core/v3"

USER = "deployer"
PASSWORD = "not-a-secret & 'odd'"
SESSION_ID = "session-of-the-tests"
ORG = "ACME_TEST"
ORG_ID = "0cuQSDTq5sikvN7x8r1xm1"


def settings(login_url: str = LOGIN_HOST, **changes: Any) -> Settings:
    return Settings(login_url, USER, PASSWORD, **changes)


def login_answer(session_id: str = SESSION_ID, api_base: str = API_BASE) -> dict[str, Any]:
    """Informatica's page "Login", v3."""
    return {
        "products": [{"name": "Integration Cloud", "baseApiUrl": api_base}],
        "userInfo": {
            "sessionId": session_id,
            "id": "9L1GFroXSDHe2IIg7QhBaT",
            "name": USER,
            "parentOrgId": "52ZSTB0IDK6dXxaEQLUaQu",
            "orgId": ORG_ID,
            "orgName": ORG,
            "groups": {},
            "status": "Active",
        },
    }


def error_body(code: str, message: str, request_id: str = "cs9m3vCQqHLhFvEAdCM3sI") -> dict[str, Any]:
    """Informatica's page "Error object", v3."""
    return {"error": {"code": code, "message": message, "requestId": request_id, "details": None}}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def new_session(clock: Clock, login_url: str = LOGIN_HOST, **changes: Any) -> Session:
    return Session(settings(login_url, **changes), sleep=clock.sleep, clock=clock)


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def session_id(self) -> str | None:
        return self.headers.get("infa-session-id")


@dataclass(frozen=True)
class Answer:
    """What to answer. ``body`` None drops the connection; ``announced`` is a false Content-Length; ``raw`` is sent
    as it stands instead of everything else.
    """

    status: int = 200
    body: bytes | str | dict[str, Any] | list[Any] | None = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    raw: bytes | None = None


class TinyServer:
    """A web server on a free loopback port that answers as a function of the request says.

    :param tls: File with certificate and key, for https.
    """

    def __init__(self, respond: Callable[[Received], Answer], *, tls: Path | None = None) -> None:
        self.requests: list[Received] = []
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, body)
                with lock:
                    server.requests.append(received)
                answer = respond(received)
                if answer.raw is not None:
                    self.wfile.write(answer.raw)
                    self.close_connection = True
                    return
                if answer.body is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = answer.body
                kind = "application/json"
                if isinstance(content, (dict, list)):
                    content = json.dumps(content)
                elif isinstance(content, str):
                    kind = "text/html"
                data = content.encode() if isinstance(content, str) else content
                self.send_response(answer.status)
                for name, value in {"Content-Type": kind, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if answer.announced is None else answer.announced))
                self.end_headers()
                self.wfile.write(data)
                if answer.announced is not None:
                    self.close_connection = True

            do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # Many threads of a test connect at once.
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> TinyServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, ending: str) -> int:
        """Number of requests whose path ends so."""
        return sum(request.path.endswith(ending) for request in self.requests)


class TinyIdmc:
    """A login that numbers its sessions, and an API that answers as a function says; both on one loopback port."""

    def __init__(self, api: Callable[[Received], Answer]) -> None:
        self.logins = 0
        self._api = api
        self._lock = threading.Lock()
        self.server = TinyServer(self._respond)

    def _respond(self, request: Received) -> Answer:
        if request.path.endswith("/login"):
            with self._lock:
                self.logins += 1
                return Answer(body=login_answer(f"session-{self.logins}", f"{self.server.url}/saas"))
        return Answer() if request.path.endswith("/logout") else self._api(request)

    def __enter__(self) -> TinyIdmc:
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    @property
    def calls(self) -> list[Received]:
        """What arrived beside logins and logouts."""
        return [r for r in self.server.requests if not r.path.endswith(("/login", "/logout"))]


class Target:
    """
    A target org that answers lookups, by path and type or by id, and lists what is source controlled or in a container.

    ``states`` holds further fields of lookup's answer by path; ``controlled`` the rows of the listing.
    """

    def __init__(self, wire: requests_mock.Mocker, *assets: tuple[str, str]) -> None:
        self.ids = {(path, type.upper()): f"target-{path}" for path, type in assets}
        self.states: dict[str, dict[str, Any]] = {}
        self.controlled: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.wire = wire
        wire.post(f"{V3}/lookup", json=self._respond)
        wire.get(f"{V3}/objects", json=self._list)

    def control(self, path: str, type: str, **state: Any) -> None:
        """Have an asset under source control. :param state: ``checkedOutBy`` and so on."""
        row = {"id": self.ids[(path, type.upper())], "path": path, "type": type}
        self.controlled.append({**row, "sourceControl": {"sourceControlled": True, "checkedOutBy": None, **state}})

    def _list(self, request: Any, context: Any) -> dict[str, Any]:
        (q,) = parse_qs(urlsplit(request.url).query)["q"]
        rows = self.controlled
        if q.startswith("location=="):
            container = q.removeprefix("location==").strip("'\"")
            places = [key for key in self.ids if key[0].rpartition("/")[0] == container]
            rows = [{"id": self.ids[path, type], "path": path, "type": type} for path, type in places]
        else:
            assert q == "sourceControl.sourceControlled==true"
        return {"count": len(rows), "objects": rows}

    def _respond(self, request: Any, context: Any) -> dict[str, Any]:
        refs = request.json()["objects"]
        self.calls.append(len(refs))
        rows = []
        for ref in refs:
            for (path, type), id in self.ids.items():
                if ref.get("id") == id or (ref.get("path"), ref.get("type", "").upper()) == (path, type):
                    rows.append({"id": id, "path": path, "type": type, **self.states.get(path, {})})
        return {"objects": rows}
