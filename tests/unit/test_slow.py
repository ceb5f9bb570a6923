"""What is slow and not gone: uploads that are taken in with pauses, answers in drips."""

from __future__ import annotations

import contextlib
import io
import json
import ssl
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import Clock, login_answer, new_session
from .test_proxies import Tunnel

#: Far more than the buffers between two sockets of this machine hold.
LARGE = 32 << 20


class Org:
    """An org that takes its time.

    :param tls: File with certificate and key, for https.
    """

    def __init__(self, tls: Path | None = None) -> None:
        #: Seconds in the middle of an upload for which nothing is read.
        self.pause = 0.0
        #: What all but logouts are answered with, piece by piece, each after a moment; else all goes as it should.
        self.pieces: Callable[[], Iterator[bytes]] | None = None
        self.moment = 0.05
        self.uploads = 0
        self.over = threading.Event()
        org = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                left = int(self.headers.get("Content-Length") or 0)
                if self.path.endswith("/upload"):
                    org.uploads += 1
                    left -= len(self.rfile.read(1 << 20))
                    time.sleep(org.pause)
                while left > 0 and (read := len(self.rfile.read(min(left, 1 << 20)))):
                    left -= read
                if self.path.endswith("/login"):
                    self.answer(login_answer(api_base=f"{org.url}/saas"))
                elif not left:  # else the caller has hung up
                    self.say({}) if self.path.endswith("/logout") else self.answer({})

            def do_GET(self) -> None:
                self.answer({})

            def answer(self, body: Any) -> None:
                if org.pieces is None:
                    return self.say(body)
                self.close_connection = True
                with contextlib.suppress(OSError):
                    for piece in org.pieces():
                        self.wfile.write(piece)
                        if org.over.wait(org.moment):
                            break

            def say(self, body: Any) -> None:
                data = json.dumps(body).encode()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Who gives an answer up hangs up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def org() -> Iterator[Org]:
    with contextlib.closing(Org()) as org:
        yield org


# uploads ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "package.zip"
    path.write_bytes(b"PK" + bytes(LARGE))
    return path


@pytest.mark.parametrize("is_new", [True, False], ids=["new connection", "used connection"])
@pytest.mark.parametrize("way", ["http", "https", "proxy"])
def test_an_upload_may_pause_for_as_long_as_an_answer(
    clock: Clock, certificate: Path, large: Path, monkeypatch: pytest.MonkeyPatch, way: str, is_new: bool
) -> None:
    """A gateway scans or passes on what it has; it is not away. What is for connecting is not for that."""
    with contextlib.ExitStack() as opened:
        org = opened.enter_context(contextlib.closing(Org(None if way == "http" else certificate)))
        org.pause = 3.0
        if way == "proxy":
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            tunnel = opened.enter_context(contextlib.closing(Tunnel(org.url)))
            monkeypatch.setenv("https_proxy", tunnel.url)
        session = new_session(
            clock, org.url, verify=str(certificate), connect_timeout=2.0, read_timeout=20.0, retry_timeout=0.0
        )
        with session:
            session.login()
            if is_new:
                session.transport.close()
            assert session.upload("/upload", large, field="package") == {}
        assert org.uploads == 1


def test_an_upload_that_nobody_takes_in_is_given_up(clock: Clock, org: Org, large: Path) -> None:
    org.pause = 5.0
    with (
        new_session(clock, org.url, connect_timeout=1.5, read_timeout=1.5, retry_timeout=0.0) as session,
        pytest.raises(errors.IdmcUnavailableError, match="timed out"),
    ):
        session.upload("/upload", large, field="package")


# drips ------------------------------------------------------------------------------------------------------------


def drips(head: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield b" "

    return pieces


#: What stays for ever as it is here, always with one more byte before the read timeout.
DRIPS = {
    "head": drips(b"HTTP/1.1 200 OK\r\nX: "),
    "body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
    "endless body": drips(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunk": drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9999\r\n"),
    "error": drips(b"HTTP/1.1 503 Away\r\nContent-Length: 99999\r\n\r\n"),
}
CALLS: dict[str, Callable[[Session], Any]] = {
    "login": lambda session: None,
    "JSON": lambda session: session.get_json("/x"),
    "text": lambda session: session.get_text("/x"),
}


@pytest.mark.parametrize("where", DRIPS)
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_in_drips_is_given_up(clock: Clock, org: Org, call: str, where: str) -> None:
    """It would hold a task beyond every deadline, and a login all waits."""
    with new_session(clock, org.url, connect_timeout=0.5, read_timeout=1.5, retry_timeout=0.0) as session:
        if call != "login":
            session.login()
        org.pieces = DRIPS[where]
        began = time.monotonic()
        with pytest.raises(errors.IdmcUnavailableError, match=r"lost before the answer was complete.*timed out"):
            session.login() if call == "login" else CALLS[call](session)
        assert 1.9 < time.monotonic() - began < 15


def test_what_a_call_may_take_goes_for_its_drips_too(clock: Clock, org: Org) -> None:
    """The start of an export takes a minute and more."""
    with new_session(clock, org.url, connect_timeout=0.5, read_timeout=1.5, retry_timeout=0.0) as session:
        session.login()
        body = b'{"a": 1}'
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        org.pieces = lambda: (bytes([byte]) for byte in head + body)
        org.moment = 0.05
        with pytest.raises(errors.IdmcUnavailableError, match="timed out"):
            session.post_json("/x", {})
        assert session.post_json("/x", {}, read_timeout=20.0) == {"a": 1}


def test_a_package_takes_as_long_as_it_takes(clock: Clock, org: Org, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", bytes(5_000))
    data = buffer.getvalue()
    with new_session(clock, org.url, connect_timeout=0.5, read_timeout=1.5, retry_timeout=0.0) as session:
        session.login()
        org.moment = 0.15
        parts = [data[at : at + 256] for at in range(0, len(data), 256)]
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data)
        org.pieces = lambda: iter([head, *parts])
        began = time.monotonic()
        assert session.download("/x", tmp_path / "got.zip").size == len(data)
        assert time.monotonic() - began > 2.0
        # But not what comes in its place.
        for where in ("head", "error"):
            org.pieces = DRIPS[where]
            with pytest.raises(errors.IdmcUnavailableError, match="timed out"):
                session.download("/x", tmp_path / "got.zip")
