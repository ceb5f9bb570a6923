"""Reading from an event loop: what is not the session's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from airflow_provider_infa.idmc import policy
from airflow_provider_infa.idmc.aio import AsyncReader
from airflow_provider_infa.idmc.errors import IdmcAuthenticationError
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import Answer, Received, TinyIdmc, TinyServer, error_body, login_answer, settings

REFUSED = Answer(401, error_body("AUTH_01", "Session is invalid."))


def reader_of(url: str) -> AsyncReader:
    return AsyncReader(Session(settings(url, retry_timeout=0.0)), 16)


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
    assert {type(result) for result in results} == {IdmcAuthenticationError}
    assert 2 <= idmc.logins <= 10
    await closed(reader)
    assert sorted(map(str, logouts(idmc.server))) == sorted(f"session-{n + 1}" for n in range(idmc.logins))


async def test_one_that_is_not_accepted_does_not_end_the_others(
    idmc: TinyIdmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for the next login, for they may get through with it; and so that the event loop goes on."""
    monkeypatch.setattr(policy, "FIRST_DELAY", 1.0)
    reader = reader_of(idmc.server.url)
    with pytest.raises(IdmcAuthenticationError):
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
