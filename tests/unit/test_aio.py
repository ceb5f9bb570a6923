"""Reading from an event loop: what is not the session's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_infa.idmc import policy
from airflow_provider_infa.idmc.aio import AsyncReader
from airflow_provider_infa.idmc.errors import IdmcSessionError, IdmcUnavailableError
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import Answer, Received, TinyIdmc, TinyServer, error_body, login_answer, settings
from .test_proxies import Tunnel

REFUSED = Answer(401, error_body("AUTH_01", "Session is invalid."))


def reader_of(url: str, most: int = 16, **changes: Any) -> AsyncReader:
    return AsyncReader(Session(settings(url, retry_timeout=0.0, **changes)), most)


def logouts(server: TinyServer) -> list[str | None]:
    return [r.session_id for r in server.requests if r.path.endswith("/logout")]


async def closed(reader: AsyncReader) -> None:
    """Logging out happens in the background."""
    reader.close()
    await asyncio.to_thread(reader._thread.shutdown)


def respond(request: Received) -> Answer:
    if request.path.endswith("/mine"):
        return REFUSED
    return Answer(body={"ok": True})


@pytest.fixture
def idmc() -> Iterator[TinyIdmc]:
    """An org that accepts no session for the path ``/mine``."""
    with TinyIdmc(respond) as idmc:
        yield idmc


async def test_headers_as_long_as_workers_read_them() -> None:
    """Session ids of orgs that use JWT have up to 16,000 characters (Informatica's page "Session IDs")."""
    session_id = "J" * 16_000
    cookie = {"Set-Cookie": f"USER_SESSION={session_id}; Secure"}

    def respond(request: Received) -> Answer:
        is_login = request.path.endswith("/login")
        return Answer(body=login_answer(session_id, f"{server.url}/saas") if is_login else {"ok": True}, headers=cookie)

    with TinyServer(respond) as server:
        reader = reader_of(server.url)
        assert await reader.get_json("/import/x") == {"ok": True}
        await closed(reader)
        assert logouts(server) == [session_id]


async def test_sessions_that_are_never_accepted_are_few_and_none_is_left_open(
    idmc: TinyIdmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FIRST_DELAY", 0.1)
    reader = reader_of(idmc.server.url)

    async def look(number: int) -> None:
        await asyncio.sleep(number * 0.01)
        await reader.get_json("/mine")

    results = await asyncio.gather(*map(look, range(60)), return_exceptions=True)
    assert {type(result) for result in results} == {IdmcSessionError}
    assert 2 <= idmc.logins <= 10
    await closed(reader)
    assert sorted(map(str, logouts(idmc.server))) == sorted(f"session-{n + 1}" for n in range(idmc.logins))


async def test_one_that_is_not_accepted_does_not_end_the_others(
    idmc: TinyIdmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for the next login, for they may get through with it; and so that the event loop goes on."""
    monkeypatch.setattr(policy, "FIRST_DELAY", 1.0)
    reader = reader_of(idmc.server.url)
    with pytest.raises(IdmcSessionError):
        await reader.get_json("/mine")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.create_task(tick())
    assert await asyncio.gather(*(reader.get_json("/import/x") for _ in range(20))) == [{"ok": True}] * 20
    ticker.cancel()
    assert ticks >= 5
    assert idmc.logins == 3
    await closed(reader)


#: So short that what hangs is over soon; together they are all that one look may take.
SHORT = {"connect_timeout": 1.5, "read_timeout": 1.5}


class Swallowing(Tunnel):
    """A proxy that takes a few connections after the first one, which is the login's, and never answers them."""

    def __init__(self, target: str, number: int) -> None:
        super().__init__(target)
        self.left, self.met, self.kept = number, 0, list[socket.socket]()

    def _connect(self, caller: socket.socket) -> None:
        self.met += 1
        if self.met > 1 and self.left:
            self.left -= 1
            self.kept.append(caller)
        else:
            super()._connect(caller)


async def test_a_proxy_that_does_not_answer_neither_holds_a_look_nor_all_places(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed over or restarted; what is asked anew gets through."""

    def respond(request: Received) -> Answer:
        is_login = request.path.endswith("/login")
        return Answer(body=login_answer(api_base=f"{server.url}/saas") if is_login else {"state": "SUCCESSFUL"})

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with TinyServer(respond, tls=certificate) as server, contextlib.closing(Swallowing(server.url, 2)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        reader = reader_of(server.url, 2, verify=str(certificate), **SHORT)
        async with asyncio.timeout(20):
            looks = [reader.get_json(f"/import/{n}") for n in range(6)]
            results = await asyncio.gather(*looks, return_exceptions=True)
        # Those that waited for the two places get theirs.
        assert [type(result) for result in results] == [IdmcUnavailableError] * 2 + [dict] * 4
        assert await reader.get_json("/import/0") == {"state": "SUCCESSFUL"}
        await closed(reader)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
async def test_an_answer_in_drips_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(OSError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    org = await asyncio.start_server(drip, "127.0.0.1", 0)
    api = f"http://127.0.0.1:{org.sockets[0].getsockname()[1]}/saas"
    with TinyServer(lambda request: Answer(body=login_answer(api_base=api))) as server:
        reader = reader_of(server.url, **SHORT)
        began = time.monotonic()
        with pytest.raises(IdmcUnavailableError, match="lost before the answer was complete"):
            async with asyncio.timeout(20):
                await reader.get_json("/import/x")
        assert 2.5 < time.monotonic() - began < 15
        await closed(reader)
    org.close()
