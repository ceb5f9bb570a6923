"""
Reading JSON from an event loop, which is all that waits need.

A thousand waits in threads, over requests, cost a triggerer several times the processor time and hold up its event
loop; docs/benchmarks.md has the figures. Only the exchange itself is here a second time: login, renewal and what comes
after a failure are the session's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_infa.idmc.ceiling import AsyncCeiling
from airflow_provider_infa.idmc.errors import (
    IdmcAnswerError,
    IdmcError,
    IdmcSessionError,
    IdmcSettingsError,
)
from airflow_provider_infa.idmc.http import CHUNK, HEADERS
from airflow_provider_infa.idmc.policy import Failure, growing_delay, silence
from airflow_provider_infa.idmc.session import Api, Session, Tries
from airflow_provider_infa.idmc.transport import MAX_ANSWER, Trouble, parse_json

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

#: Bytes of a line of an answer's head: the same as in ``http.client``.
LONGEST_LINE = 1 << 16


class AsyncReader:
    """
    GETs of a session from an event loop, in which it is made.

    :param session: The session; closed with this.
    :param most: Requests in flight at most; see :class:`~airflow_provider_infa.idmc.ceiling.AsyncCeiling`.
    """

    def __init__(self, session: Session, most: int) -> None:
        self._session = session
        self._ceiling = AsyncCeiling(most)
        # For what blocks: a login, which all wait for, and failures, as deciding about them may wait for a login.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infa-login")
        self._http: asyncio.Task[aiohttp.ClientSession] | None = None
        self._login: asyncio.Task[None] | None = None
        self._failed_logins = 0
        # On the clock of the event loop: until then no login is tried after one that failed or was of no use ...
        self._login_due = 0.0
        # ... and until then IDMC has asked not to be asked.
        self._silence = 0.0

    async def get_json(self, path: str, *, api: Api = Api.V3, media_type: str = "application/json") -> Any:
        """
        GET a JSON answer; see :meth:`airflow_provider_infa.idmc.session.Session.get_json`.

        :param path: Path below that of the interface.
        :param api: The interface.
        :param media_type: What kind of JSON to ask for.
        :raises IdmcError: The subclass tells what can be done about the failure.
        """
        tries = self._session.tries("GET", api, path)
        clock = asyncio.get_running_loop().time
        while True:
            try:
                with await self._ceiling.slot():
                    await self._ready(tries)
                    sent = clock()
                    url, headers = tries.request(media_type)
                    answer = await self._exchange(url, headers)
                    tries.succeeded()
                    self._failed_logins = 0
                    return answer
            except Trouble as trouble:
                if asked := silence(trouble.wait):
                    # Of answers to what was under way together the first begins the silence; those after it must not
                    # begin it anew.
                    began = clock() if sent >= self._silence else sent
                    self._silence = max(self._silence, began + asked)
                await asyncio.sleep(await self._after(tries, trouble))

    def close(self) -> None:
        """Close all connections, and the session in the background, as a task that is cancelled may await nothing."""
        if self._login is not None:
            self._login.cancel()
        if self._http is not None:
            self._http.cancel()
            if self._http.done() and not self._http.cancelled() and not self._http.exception():
                _begin(self._http.result().close())
        self._thread.submit(self._session.close)
        self._thread.shutdown(wait=False)

    async def _after(self, tries: Tries, trouble: Trouble) -> float:
        """What comes after a failure; see :meth:`airflow_provider_infa.idmc.session.Tries.failed`."""
        try:
            return await self._in_thread(tries.failed, trouble)
        except IdmcSessionError as error:
            # Others may get through with the next login; but there must not be one for each wait that does not.
            if asyncio.get_running_loop().time() >= self._login_due:
                self._put_off_login(error)
            raise

    async def _ready(self, tries: Tries) -> None:
        """Wait until the next try may be sent. In its slot, as much may happen while it queues for one."""
        while True:
            if (left := self._silence - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(left)
            elif tries.take_login() is None:
                await self._log_in()
            else:
                return

    async def _log_in(self) -> None:
        """Log in, once for all; until the next login is due, the failure of the last one is everybody's."""
        loop, login = asyncio.get_running_loop(), self._login
        if login is None or (login.done() and (loop.time() >= self._login_due or not login.exception())):
            login = self._login = loop.create_task(self._new_login())
            # Its failure is looked at, also when all who wanted it have left: asyncio would log it as an error.
            login.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Whoever began it may be cancelled; the others still want it.
        await asyncio.shield(login)

    async def _new_login(self) -> None:
        await asyncio.sleep(self._login_due - asyncio.get_running_loop().time())
        try:
            await self._in_thread(self._session.login)
        except IdmcError as error:
            self._put_off_login(error)
            raise

    def _put_off_login(self, error: IdmcError) -> None:
        self._failed_logins += 1
        delay = max(growing_delay(self._failed_logins), silence(error.retry_after))
        self._login_due = asyncio.get_running_loop().time() + delay

    async def _exchange(self, url: str, headers: dict[str, str]) -> Any:
        http = await self._client()
        import aiohttp
        from yarl import URL

        address = URL(url, encoded=True)
        host = address.authority
        try:
            proxy = self._session.transport.proxy_for(url)
            request = http.get(address, headers=headers, proxy=proxy, allow_redirects=False)
            async with request as response:
                return parse_json(response.status, response.headers, await _text(response))
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._session.transport.untrusted(host, error.certificate_error) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError) as error:
            raise Trouble(Failure.NOT_CONNECTED, f"could not connect to {host}: {error.os_error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if isinstance(error, IdmcError):
                raise
            what = f"the connection to {host} was lost before the answer was complete: {type(error).__name__}"
            raise Trouble(Failure.LOST, what) from None

    async def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = asyncio.get_running_loop().create_task(self._new_client())
        return self._http.result() if self._http.done() else await asyncio.shield(self._http)

    async def _new_client(self) -> aiohttp.ClientSession:
        settings = self._session.settings
        context = await self._in_thread(_prepare, self._session.transport.verify)
        import aiohttp

        # The total bounds what the others do not: a name being looked up, a proxy's answer, drips.
        timeout = aiohttp.ClientTimeout(
            total=settings.connect_timeout + settings.read_timeout,
            sock_connect=settings.connect_timeout,
            sock_read=settings.read_timeout,
        )
        return aiohttp.ClientSession(
            # As much as workers read: session ids of up to 16,000 characters may come back in a header.
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            timeout=timeout,
        )

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _prepare(verify: bool | str) -> ssl.SSLContext:
    """
    What takes longer than the event loop may be held up: importing aiohttp, and reading a bundle of authorities.

    :param verify: As the argument of that name of requests, whose rules are followed.
    """
    from pathlib import Path

    import aiohttp  # noqa: F401
    from requests.utils import DEFAULT_CA_BUNDLE_PATH
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    if verify:
        place = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
        try:
            context.load_verify_locations(**{"capath" if Path(place).is_dir() else "cafile": place})
        except OSError:
            raise IdmcSettingsError(f"CA bundle {place!r} of the connection can't be read.") from None
    return context


async def _text(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise Trouble(Failure.SERVER_ERROR, f"the answer is larger than {MAX_ANSWER} bytes", final=IdmcAnswerError)
    return body.decode("utf-8", "replace")


def _begin(closing: Coroutine[Any, Any, None]) -> None:
    """
    Close connections now. A task would come too late where the event loop ends with the last wait; and what would be
    waited for, the end of TLS, comes without anybody waiting.
    """
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
