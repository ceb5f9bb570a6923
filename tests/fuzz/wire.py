"""
A server that answers with any bytes at all, below HTTP and without a network.

The whole client runs, from our own down to ``http.client``; only the socket is ours. So a peer can cut off, stall or
never end, and nobody has to wait for that.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

LOGIN_URL = "http://127.0.0.1:1"
#: Requests of one example. More can only mean that a loop does not end.
MOST_REQUESTS = 400


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    head: bytes


#: What answers: bytes as they go over the wire, in pieces; what the pieces raise happens to the connection.
Respond = Callable[[Request], Iterable[bytes]]


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


class _Socket:
    """Just enough of a socket for ``http.client``. It looks as if the peer had hung up, so it serves one request."""

    def __init__(self, respond: Respond, always_readable: int) -> None:
        self._respond = respond
        self._fileno = always_readable
        self._head = b""

    def sendall(self, data: Any) -> None:
        if b"\r\n\r\n" not in self._head:
            self._head += bytes(data)

    def makefile(self, *args: Any, **options: Any) -> io.BufferedReader:
        method, target = self._head.split(b" ", 2)[:2]
        request = Request(method.decode(), urlsplit(target.decode()).path, self._head)
        return io.BufferedReader(_Pieces(self._respond(request)), 1 << 16)

    def fileno(self) -> int:
        return self._fileno

    def settimeout(self, seconds: float | None) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Wire:
    """All connections of a test. Assign ``respond`` before each example."""

    def __init__(self, always_readable: int) -> None:
        self.respond: Respond = lambda request: ()
        self.requests = 0
        self._fileno = always_readable

    def connect(self, *args: Any, **options: Any) -> _Socket:
        self.requests += 1
        assert self.requests <= MOST_REQUESTS, f"{self.requests} requests: this does not end"
        return _Socket(lambda request: self.respond(request), self._fileno)

    def start(self, respond: Respond) -> None:
        """Begin an example."""
        self.respond, self.requests = respond, 0


@pytest.fixture(name="wire", scope="module")
def wire_fixture() -> Iterator[Wire]:
    fileno = os.open(os.devnull, os.O_RDONLY)
    with pytest.MonkeyPatch.context() as patch:
        wire = Wire(fileno)
        patch.setattr("urllib3.util.connection.create_connection", wire.connect)
        yield wire
    os.close(fileno)


def http(body: bytes, *, status: int = 200, headers: Iterable[tuple[str, str | bytes]] = ()) -> bytes:
    """An answer as it should be, with further headers."""
    return frame(body, status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers])


def frame(body: bytes, status: int | str, headers: Iterable[tuple[str, str | bytes]]) -> bytes:
    """An answer with these headers and no others."""
    lines = [f"HTTP/1.1 {status} Said".encode()]
    lines += [name.encode() + b": " + (v if isinstance(v, bytes) else v.encode("latin-1")) for name, v in headers]
    return b"\r\n".join([*lines, b"", body])
