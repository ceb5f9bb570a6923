"""Answers without an end, or with far too much in them, are given up before they fill memory, disk or time."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.idmc_packages import server_package

from airflow_provider_infa.idmc import transport
from airflow_provider_infa.idmc.errors import IdmcError
from airflow_provider_infa.idmc.objects import list_objects, references
from airflow_provider_infa.idmc.session import Session

from .bounds import GROWTH, bounded
from .calls import CALLS, ID, LOGIN, asset, settings
from .test_answers import serve
from .wire import Request, Wire, http, wire_fixture  # noqa: F401 - a fixture

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PIECE = b" " * (1 << 16)
#: Bytes of an answer that are too many, in these tests.
MOST = 1 << 20


def endless(first: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield first
        for _ in range(1 << 12):  # 256 MiB: who takes that has no bound
            yield piece
        raise AssertionError("all of it was read")

    return pieces


ENDLESS = {
    "unannounced": endless(HEAD + b"\r\n", PIECE),
    "announced": endless(HEAD + b"Content-Length: 999999999999\r\n\r\n", PIECE),
    "chunked": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + PIECE + b"\r\n"),
    "one chunk": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", PIECE),
    "list": endless(HEAD + b'\r\n{"objects":[', b"{}," * 20_000),
    "text": endless(HEAD + b'\r\n"', b"x" * (1 << 16)),
    "package": endless(HEAD + b"\r\n" + server_package(), PIECE),
    "headers": endless(HEAD, b"X: y\r\n" * 10_000),
    "one header": endless(HEAD + b"X: ", PIECE),
}


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds, so low that reaching them takes no time."""
    monkeypatch.setattr(transport, "MAX_ANSWER", MOST)
    monkeypatch.setattr(transport, "MAX_PACKAGE", MOST)


def refused(run: Callable[[Session], Any]) -> str:
    """The error of a call, which takes little memory."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with Session(settings(), sleep=sleep, clock=lambda: now[0]) as session:
        session.login()
        tracemalloc.start()
        try:
            with pytest.raises(IdmcError) as raised:
                run(session)
            grown = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert grown < GROWTH, f"{grown >> 20} MiB"
    return str(raised.value)


@pytest.mark.parametrize("name", ["objects", "export log", "package"])
@pytest.mark.parametrize("way", ENDLESS)
def test_an_answer_without_end(wire: Wire, file: Path, name: str, way: str) -> None:
    call = CALLS[name]

    class Pieces(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            return ENDLESS[way]()

    wire.start(serve(call, Pieces()))
    with bounded(4 * MOST):
        refused(lambda session: call.run(session, file))
    assert not file.exists() or file.stat().st_size <= 3 * MOST


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("name", ["objects", "package"])
def test_a_compressed_bomb_that_nobody_asked_for(wire: Wire, file: Path, name: str, coding: str) -> None:
    zeros = (server_package() if name == "package" else b"[") + b" " * (96 << 20)
    body = gzip.compress(zeros, 1) if coding == "gzip" else zlib.compress(zeros, 1)
    del zeros
    call = CALLS[name]
    wire.start(serve(call, [http(body, headers=[("Content-Encoding", coding)])]))
    refused(lambda session: call.run(session, file))
    assert not file.exists() or file.stat().st_size <= 3 * MOST


def test_a_login_without_end(wire: Wire) -> None:
    call = CALLS["login"]

    class Pieces(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            return ENDLESS["text"]()

    wire.start(serve(call, Pieces()))
    with Session(settings(), sleep=lambda seconds: None) as session, pytest.raises(IdmcError):
        session.login()


def pages(rows: Callable[[int], list[Any]], count: Any, name: str) -> Callable[[Request], Iterable[bytes]]:
    """A server that never runs out of pages."""
    asked = iter(range(10**9))

    def respond(request: Request) -> Iterator[bytes]:
        if request.path.endswith("/login"):
            yield http(json.dumps(LOGIN).encode())
        elif request.path.endswith("/logout"):
            yield http(b"{}")
        else:
            yield http(json.dumps({"count": count, name: rows(next(asked))}).encode())

    return respond


@pytest.mark.parametrize("count", [None, -1, 0, 10**6, 10**300, True])
@pytest.mark.parametrize("full", [False, True])
def test_pages_that_are_all_the_same(wire: Wire, count: Any, *, full: bool) -> None:
    """A server that ignores where to start is found out, however much it announces."""
    rows = [asset(f"id-{n}") for n in range(200 if full else 1)]
    wire.start(pages(lambda page: rows, count, "objects"))
    with bounded(), Session(settings(), sleep=lambda seconds: None) as session:
        try:
            found = list(list_objects(session))
        except IdmcError:
            found = []
    assert len(found) in (0, len(rows))


@pytest.mark.parametrize("count", [10**6, 10**300])
def test_pages_that_are_empty(wire: Wire, count: int) -> None:
    """What was announced never comes."""
    wire.start(pages(lambda page: [] if page else [asset()], count, "objects"))
    with bounded(), Session(settings(), sleep=lambda seconds: None) as session:
        assert len(list(list_objects(session))) == 1


@pytest.mark.parametrize("count", [None, 10**6])
@pytest.mark.parametrize("full", [False, True])
def test_references_that_are_all_the_same(wire: Wire, count: Any, *, full: bool) -> None:
    rows = [{"id": f"id-{n}"} for n in range(50 if full else 1)]
    wire.start(pages(lambda page: rows, count, "references"))
    with bounded(), Session(settings(), sleep=lambda seconds: None) as session:
        try:
            found = list(references(session, ID))
        except IdmcError:
            found = []
    assert len(found) in (0, len(rows))


def test_an_answer_of_tens_of_megabytes(wire: Wire, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the bound, and of the wrong shape: its size alone is no reason to fall over."""
    monkeypatch.setattr(transport, "MAX_ANSWER", 64 << 20)
    call = CALLS["objects"]
    for body in (b'"' + b"x" * (32 << 20) + b'"', b'{"objects": "' + b"y" * (32 << 20) + b'"}'):
        wire.start(serve(call, [http(body)]))
        with (
            bounded(len(body)),
            Session(settings(), sleep=lambda seconds: None) as session,
            pytest.raises(IdmcError) as raised,
        ):
            call.run(session, file)
        assert len(str(raised.value)) < 1_000
