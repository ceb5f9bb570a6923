"""Calls through a proxy: what broke before anything was sent, and what may have arrived."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.imports import start_import
from airflow_provider_infa.idmc.transport import Transport

from .idmc_doubles import Answer, Clock, Received, TinyServer, login_answer, new_session, settings

JOB = "aBcDeFgHiJkLmNoPqRsTuV"


class Tunnel:
    """A proxy for CONNECT. :param resets: Whether it passes on a connection that ends as one that breaks."""

    def __init__(self, target: str, *, resets: bool = False, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self._port = int(target.rpartition(":")[2])
        self._resets, self._answer = resets, answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=(self._socket.accept()[0],), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += caller.recv(4096)
        caller.sendall(self._answer)
        if b" 200 " not in self._answer:
            caller.close()
            return
        server = socket.create_connection(("127.0.0.1", self._port))
        threading.Thread(target=self._pump, args=(caller, server), daemon=True).start()
        self._pump(server, caller)
        if self._resets:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


class Target:
    """An org that hangs up on the start of an import, which runs from then on."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[str] = []

    def __call__(self, request: Received) -> Answer:
        if request.path.endswith("/login"):
            return Answer(body=login_answer(api_base=f"{self.url}/saas"))
        if request.path.endswith("/logout"):
            return Answer(body={})
        self.calls.append(request.method)
        if request.method == "POST":
            return Answer(body=None)
        state = "IN_PROGRESS" if "POST" in self.calls else "NOT_STARTED"
        return Answer(body={"id": JOB, "name": "j", "status": {"state": state, "message": ""}})


@pytest.fixture
def tunnels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tunnel]]:
    """Those that are put in here are closed afterwards."""
    made: list[Tunnel] = []
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize("resets", [False, True], ids=["end", "reset"])
def test_a_start_that_was_lost_behind_a_tunnel_is_asked_for(
    clock: Clock, certificate: Path, tunnels: list[Tunnel], monkeypatch: pytest.MonkeyPatch, resets: bool
) -> None:
    """urllib3 calls everything that breaks there an error of the proxy, as if nothing had been sent."""
    org = Target()
    with TinyServer(org, tls=certificate) as server:
        org.url = server.url
        tunnels.append(Tunnel(server.url, resets=resets))
        monkeypatch.setenv("https_proxy", tunnels[0].url)
        with new_session(clock, server.url, verify=str(certificate)) as session:
            job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert is_new
    assert job.id == JOB
    assert org.calls == ["GET", "POST", "GET"]


def test_a_start_that_was_lost_behind_a_proxy_for_http_is_asked_for(
    clock: Clock, tunnels: list[Tunnel], monkeypatch: pytest.MonkeyPatch
) -> None:
    org = Target()
    org.url = "http://localhost:9"
    with TinyServer(org) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with new_session(clock, org.url) as session:
            start_import(session, JOB, sleep=clock.sleep)
    assert org.calls == ["GET", "POST", "GET"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 no\r\n\r\n", b"HTTP/1.1 407 who\r\n\r\n", None])
def test_a_proxy_that_does_not_connect_has_sent_nothing(
    clock: Clock, tunnels: list[Tunnel], monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    tunnels.append(Tunnel("nowhere:9", answer=answer or b""))
    monkeypatch.setenv("https_proxy", tunnels[0].url)
    if answer is None:
        tunnels[0].close()
    with pytest.raises(errors.IdmcUnavailableError, match="could not connect to dm-us"):
        new_session(clock, retry_timeout=3.0).login()


@pytest.mark.parametrize("value", ["http://", "ftp://user:word@proxy.corp", "http://user:word@127.0.0.1:notaport"])
def test_a_proxy_that_is_none(clock: Clock, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(errors.IdmcSettingsError, match="HTTPS_PROXY") as caught:
        new_session(clock).login()
    assert "word" not in str(caught.value)
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("value", "used"),
    [
        ("proxy.corp:3128", "http://proxy.corp:3128"),
        ("http://proxy.corp:3128", "http://proxy.corp:3128"),
        ("HTTP://proxy.corp:3128", "HTTP://proxy.corp:3128"),
        ("https://user:word@proxy.corp", "https://user:word@proxy.corp"),
        ("user:word@proxy.corp:3128", "http://user:word@proxy.corp:3128"),
    ],
)
def test_the_proxy_of_waits(monkeypatch: pytest.MonkeyPatch, value: str, used: str) -> None:
    monkeypatch.setenv("https_proxy", value)
    assert Transport(settings()).proxy_for("https://dm-us.informaticacloud.com/saas") == used


def test_a_proxy_that_waits_can_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://user:word@proxy.corp:1080")
    with pytest.raises(errors.IdmcSettingsError, match="a socks5 proxy") as caught:
        Transport(settings()).proxy_for("https://dm-us.informaticacloud.com/saas")
    assert "word" not in str(caught.value)
