"""
The connections that exchanges go over: those of ``requests``, with what it gets wrong for us put right.

``requests`` is imported with the first of them; see :mod:`airflow_provider_infa.idmc.transport`.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_infa import __version__
from airflow_provider_infa.idmc.settings import Settings

if TYPE_CHECKING:
    import requests

#: Bytes read or written at a time, so that memory stays flat at any package size.
CHUNK = 1 << 20
#: Sent with every request.
HEADERS = {"User-Agent": f"airflow-provider-infa/{__version__}", "Accept-Encoding": "identity"}


class Arriving(io.RawIOBase):
    """
    An answer as it comes over a connection, in a bounded time. A timeout bounds each read, and drips would never end.

    :param source: Reads from the connection.
    :param seconds: How long the whole of it may take.
    """

    def __init__(self, source: io.RawIOBase, seconds: float) -> None:
        self._source = source
        #: When it has to be over, on the clock that never jumps.
        self.due = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.due:
            raise TimeoutError("timed out")
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


def _patient(base: Any, settings: Settings) -> Any:
    """
    A kind of connection that gives writes as long as reads, and a whole answer a bounded time.

    urllib3 gives writes what is meant for connecting, which a gateway that looks into uploads may well exceed.

    :param base: The kind of urllib3.
    """
    from http.client import HTTPResponse

    class Connection(base):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(settings.read_timeout)

        def request(self, *args: Any, **kwargs: Any) -> Any:
            if self.sock is not None:  # else it connects when it sends
                self.timeout = settings.read_timeout
            return super().request(*args, **kwargs)

        def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
            """What :mod:`http.client` makes an answer with, when all is sent and the timeout is that of this read."""
            response = HTTPResponse(sock, *args, **kwargs)
            self.arriving = Arriving(response.fp.detach(), settings.connect_timeout + self.timeout)
            response.fp = io.BufferedReader(self.arriving)
            return response

    return Connection


def new_session(settings: Settings, connections: int) -> requests.Session:
    """
    A pool of connections to all hosts of an org.

    :param settings: Of the connection.
    :param connections: To one host at most.
    """
    import http.cookiejar

    import requests
    from requests.adapters import HTTPAdapter

    class Http(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Redirects are not even looked at: requests would fail on an address that is none."""

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            """Uploads go in pieces of our size: those of urllib3, 16 KiB, cost more than the rest of an upload."""
            super().init_poolmanager(*args, blocksize=CHUNK, **kwargs)
            self._make_patient(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **kwargs)
            if is_new:
                self._make_patient(manager)
            return manager

        @staticmethod
        def _make_patient(manager: Any) -> None:
            manager.pool_classes_by_scheme = {
                scheme: type(pool.__name__, (pool,), {"ConnectionCls": _patient(pool.ConnectionCls, settings)})
                for scheme, pool in manager.pool_classes_by_scheme.items()
            }

    session = Http()
    adapter = Adapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # The session id travels in a header that we set; cookies of one login must not leak into the next.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    # Else requests would add credentials for this host from the worker's ~/.netrc. What the environment says of proxies
    # and certificates is given to every request.
    session.trust_env = False
    session.headers.update(HEADERS)
    return session
