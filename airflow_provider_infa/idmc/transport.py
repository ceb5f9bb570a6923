"""
One HTTP exchange: a request goes out, and either a good answer comes back or a :class:`Trouble`.

Uses ``requests``, imported on the first exchange, because a DAG file that only names our operators is parsed
every few seconds and must not pay for an HTTP library.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_infa.idmc.answers import ErrorBody, error_in, first_words, load_json, read_error, retry_after
from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcError, IdmcPackageError, IdmcSettingsError
from airflow_provider_infa.idmc.http import CHUNK, Arriving, new_session
from airflow_provider_infa.idmc.policy import Failure, judge
from airflow_provider_infa.idmc.progress import Progress
from airflow_provider_infa.idmc.settings import Settings

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
log = logging.getLogger(__name__)

#: So much of an unreadable answer is looked at.
PAGE = 1 << 16
#: Bytes of an answer or log beyond which it is given up: no page, job or log comes near that.
MAX_ANSWER = 256 << 20
#: The same for a package; see :data:`airflow_provider_infa.idmc.package.MAX_UNPACKED`.
MAX_PACKAGE = 16 << 30


class Trouble(Exception):
    """
    An exchange that did not bring a good answer.

    :param failure: What happened, for :func:`~airflow_provider_infa.idmc.policy.next_step`.
    :param what: The same in words for a person; what the server wrote is added by :meth:`tell`.
    :param status: HTTP status, if an answer came.
    :param text: What the server wrote, or the beginning of it. May hold secrets.
    :param wait: Seconds that the answer asked to wait.
    :param final: Error class to give up with, where the failure alone does not tell.
    """

    def __init__(
        self,
        failure: Failure,
        what: str,
        *,
        status: int | None = None,
        text: str = "",
        wait: float | None = None,
        final: type[IdmcError] | None = None,
    ) -> None:
        super().__init__(what)
        self.failure = failure
        self.what = what
        self.status = status
        self.text = text
        #: Whether it is a page for people, of a gateway for example.
        self.is_page = text.lstrip("\ufeff \t\r\n").startswith("<")
        self.wait = wait
        self.final = final

    def error(self, redact: Callable[[str], str]) -> ErrorBody | None:
        """IDMC's error body, if there is one. :param redact: Takes secrets out of a text."""
        body = read_error(redact(self.text))
        return body and body.cleaned(redact)

    def tell(self, redact: Callable[[str], str]) -> str:
        """What happened and what the server wrote, in one line. :param redact: Takes secrets out of a text."""
        said = redact(str(self.error(redact) or "")) or first_words(self.text, redact=redact)
        return f"{redact(self.what)}: {said}" if said else redact(self.what)


@dataclass(frozen=True)
class Download:
    """A file fetched whole. :param path: Where it lies. :param size: Its bytes. :param sha256: Hex digest of them."""

    path: Path
    size: int
    sha256: str


class Transport:
    """
    Sends requests and judges answers; safe to use from several threads.

    :param settings: Certificates and timeouts.
    :param connections: Connections to keep open for each host.
    """

    def __init__(self, settings: Settings, connections: int = 8) -> None:
        self._settings = settings
        self._connections = connections
        self._lock = threading.Lock()
        self._http: requests.Session | None = None
        self._proxies: dict[str, dict[str, str]] = {}
        self._proxy: dict[str, str | None] = {}
        #: How to check certificates: as the settings say, or else the environment.
        self.verify = settings.verify
        if self.verify is True:
            self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True

    def send(
        self,
        method: str,
        url: str,
        read: Callable[[requests.Response], T],
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        read_timeout: float | None = None,
    ) -> T:
        """
        Send one request and read its answer.

        :param read: Turns the answer into the result, or raises :class:`Trouble`.
        :param params: Query; blanks become ``%20``, as ``+`` is a plus sign to strict servers.
        :param read_timeout: Seconds without a byte, if not those of the settings.
        :raises Trouble: If there is no good answer.
        :raises IdmcSettingsError: If the server's certificate can't be trusted.
        """
        import requests

        if params:
            url = f"{url}?{urlencode(params, quote_via=quote, safe='')}"
        timeout = (self._settings.connect_timeout, read_timeout or self._settings.read_timeout)
        try:
            # Redirects are never followed: they would carry the session or the password to another host.
            with self._session().request(
                method,
                url,
                headers=dict(headers or {}),
                data=data,
                stream=True,  # the body is read by `read`, which knows how much of it can be meant
                timeout=timeout,
                verify=self.verify,
                proxies=self._proxies_for(url),
                allow_redirects=False,
            ) as response:
                return read(response)
        except requests.exceptions.RequestException as error:
            raise self._lost(error, urlsplit(url).netloc) from None
        except ValueError as error:
            if isinstance(error, IdmcError):
                raise
            # urllib3 lets through what its parsers say of chunks and lengths that are none.
            raise self._lost(error, urlsplit(url).netloc) from None
        except OSError as error:
            # requests reports a CA bundle that does not exist as a bare OSError, before anything is sent.
            if "TLS CA certificate bundle" not in str(error):
                raise
            raise IdmcSettingsError(f"CA bundle {self.verify!r} of the connection can't be read.") from None

    def close(self) -> None:
        """Close all connections. The next exchange opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def _session(self) -> requests.Session:
        with self._lock:
            if self._http is None:
                self._http = new_session(self._settings, self._connections)
            return self._http

    def _proxies_for(self, url: str) -> dict[str, str]:
        """
        The proxies that the environment names for a host. Asked for once: requests would search the environment anew
        with every request, which is a third of what a request costs.
        """
        from requests.utils import get_environ_proxies

        host = urlsplit(url).netloc
        if host not in self._proxies:
            self._proxies[host] = get_environ_proxies(url)
        return self._proxies[host]

    def proxy_for(self, url: str) -> str | None:
        """
        The one proxy for a URL, if the environment names one; ``http`` unless it says otherwise, as requests has it.

        :raises IdmcSettingsError: If it is no HTTP proxy; waits can use no other.
        """
        host = urlsplit(url).netloc
        if host in self._proxy:
            return self._proxy[host]
        from requests.utils import select_proxy

        proxy = select_proxy(url, self._proxies_for(url))
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        if proxy and not re.match("https?://", proxy, re.I):
            kind = proxy.partition(":")[0]
            raise IdmcSettingsError(f"Waits in the triggerer can't use a {kind} proxy, as the environment names one.")
        self._proxy[host] = proxy
        return proxy

    @staticmethod
    def untrusted(host: str, reason: Any) -> IdmcSettingsError:
        """
        The error for a certificate that is not trusted.

        :param host: Whose it is.
        :param reason: Why.
        """
        return IdmcSettingsError(
            f"The certificate of {host} is not trusted: {_words(reason)}. If it was issued by your own authority, "
            "set CA bundle on the connection to the file that holds that authority's certificate."
        )

    @classmethod
    def _lost(cls, error: Exception, host: str) -> Exception:
        """Tell "nothing was sent" from "nobody knows what became of it"."""
        from requests import exceptions
        from urllib3.exceptions import ConnectTimeoutError, LocationValueError, MaxRetryError, ProtocolError, ProxyError

        if isinstance(error, exceptions.InvalidURL | exceptions.InvalidSchema | LocationValueError):
            # That of the proxy is not shown: it may hold a password.
            return IdmcSettingsError(
                f"{host} can't be called: its address, or that of the proxy that the environment names (HTTPS_PROXY), "
                "is wrong or of a kind that can't be used here."
            )
        reason: Any = error.args[0] if error.args else None
        if isinstance(reason, MaxRetryError):
            reason = reason.reason
        if isinstance(reason, ProxyError):
            # urllib3 says so of whatever breaks behind a proxy, also of a tunnel through which all has been sent.
            reason = reason.original_error
        is_tls = isinstance(error, exceptions.SSLError | exceptions.ProxyError)
        if is_tls and "CERTIFICATE_VERIFY_FAILED" in str(error):
            return cls.untrusted(host, reason)
        # The words are those of http.client for a proxy that refuses to connect.
        if isinstance(reason, ConnectTimeoutError) or str(reason).startswith("Tunnel connection failed"):
            return Trouble(Failure.NOT_CONNECTED, f"could not connect to {host}: {_words(reason)}")
        cause = reason.args[-1] if isinstance(reason, ProtocolError) and reason.args else reason
        said = _words(cause) if _is_ours(cause) else "the rest of it can't be read"
        return Trouble(Failure.LOST, f"the connection to {host} was lost before the answer was complete: {said}")


def check(status: int, headers: Mapping[str, str], text: str, *, readable: bool, data: Any = None) -> None:
    """
    Judge an answer by its status and the beginning of its text.

    :param status: HTTP status.
    :param headers: Its headers.
    :param text: The text, or the beginning of it.
    :param readable: Whether it is what was asked for.
    :param data: The JSON in it, if that was what was asked for.
    :raises Trouble: If it is no good answer.
    """
    seen = status
    error = error_in(data) if data is not None else read_error(text) if text[:99].lstrip()[:1] == "{" else None
    if error and status < 300:
        # Seen in scripts against v2: an error body under a good status. It is no result, whatever the status says.
        status = 400
    failure = judge(status, text, readable=readable, code=error.code if error else None)
    if failure is None:
        return
    what = f"HTTP {seen}"
    if 300 <= status < 400:
        # Nothing is shown of it, as such a page only repeats the address, which can hold anything.
        location = re.match(r"https?://(?:[^/?#@]*@)?([\w.:\[\]-]{1,200})", headers.get("Location", ""))
        target = location[1] if location else "another place"
        text = ""
        what += f" redirects to {target}, which is not followed with a session or password"
    elif not error and status < 300:
        what += " with an unreadable answer"
    elif not text.strip():
        what += " without a message"
    raise Trouble(failure, what, status=status, text=text, wait=retry_after(headers.get("Retry-After")))


def read_json(response: requests.Response) -> Any:
    """Read an answer that has to be JSON; an empty one (HTTP 204) is None."""
    return parse_json(response.status_code, response.headers, _text(response))


def parse_json(status: int, headers: Mapping[str, str], text: str) -> Any:
    """As :func:`read_json`, of an answer that has been read."""
    if status == 204 and not text:
        return None
    try:
        data, readable = load_json(text), True
    except (ValueError, RecursionError):
        data, readable = None, False
    check(status, headers, text, readable=readable, data=data)
    return data


def read_text(response: requests.Response) -> str:
    """Read an answer that has to be plain text: a job log. An HTML page is none."""
    text = _text(response)
    is_page = "text/html" in response.headers.get("Content-Type", "") or text.lstrip()[:1] == "<"
    check(response.status_code, response.headers, text, readable=not is_page)
    return text


def _text(response: requests.Response) -> str:
    body = bytearray()
    for chunk in response.iter_content(CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise Trouble(Failure.SERVER_ERROR, f"the answer is larger than {MAX_ANSWER} bytes", final=IdmcAnswerError)
    return body.decode("utf-8", "replace")


def read_zip_into(target: Path) -> Callable[[requests.Response], Download]:
    """
    Make a reader that writes a ZIP answer into a file and checks that it arrived whole.

    :param target: File to write; overwritten, also when the exchange fails.
    """

    def read(response: requests.Response) -> Download:
        arriving: Arriving | None = getattr(response.raw.connection, "arriving", None)
        if arriving is not None and response.status_code == 200:
            arriving.due = math.inf  # a package takes as long as it takes
        chunks = response.iter_content(CHUNK)
        head = _at_least(4, chunks)  # a chunked answer may come byte by byte
        if response.status_code != 200 or head[:2] != b"PK":
            text = (head + _at_least(PAGE, chunks))[:PAGE].decode("utf-8", "replace")
            looks_like_page = not text or text.lstrip()[:1] in ("<", "{")
            check(response.status_code, response.headers, text, readable=not looks_like_page)
            raise Trouble(Failure.SERVER_ERROR, "the package is no ZIP file", text=text, final=IdmcPackageError)
        length = response.headers.get("Content-Length", "")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        announced = int(length) if re.fullmatch(r"[0-9]{1,18}", length) and not encoded else None
        progress = Progress(f"Download of {target.name}", announced)
        digest, size = hashlib.sha256(head), len(head)
        # One chunk is hashed while it is written and the next one arrives.
        with target.open("wb") as file, ThreadPoolExecutor(1, thread_name_prefix="infa-hash") as beside:
            file.write(head)
            hashed = beside.submit(digest.update, b"")
            for chunk in chunks:
                hashed.result()
                hashed = beside.submit(digest.update, chunk)
                file.write(chunk)
                size += len(chunk)
                progress.at(size)
                if size > MAX_PACKAGE:
                    what = f"the package is larger than {MAX_PACKAGE} bytes"
                    raise Trouble(Failure.SERVER_ERROR, what, final=IdmcPackageError)
        if announced not in (None, size):
            raise Trouble(Failure.LOST, f"the package was cut off: {size} of {announced} bytes arrived")
        if not zipfile.is_zipfile(target):
            raise Trouble(
                Failure.SERVER_ERROR,
                f"the package was cut off: its {size} bytes are no whole ZIP file",
                final=IdmcPackageError,
            )
        return Download(target, size, digest.hexdigest())

    return read


def _at_least(size: int, chunks: Iterator[bytes]) -> bytes:
    data = b""
    while len(data) < size and (chunk := next(chunks, b"")):
        data += chunk
    return data


def multipart(field: str, filename: str, file: BinaryIO) -> tuple[Any, dict[str, str]]:
    """
    Body and headers of a ``multipart/form-data`` request with one ZIP part that is read while it is sent.

    :param field: Name of the part.
    :param filename: File name of the part.
    :param file: Source of its bytes, positioned at the start.
    """
    from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

    encoder = MultipartEncoder(fields={field: (filename, file, "application/zip")})
    progress = Progress(f"Upload of {filename}", encoder.len)
    body = MultipartEncoderMonitor(encoder, lambda monitor: progress.at(monitor.bytes_read))
    return body, {"Content-Type": body.content_type}


def _is_ours(cause: Any) -> bool:
    """
    Whether an error tells what this side noticed: no byte in time, or a connection that broke. The others repeat what
    they could not read. That may be anything, even a session id that nobody knows yet.
    """
    from http.client import IncompleteRead

    from urllib3.exceptions import InvalidChunkLength, PoolError, SSLError

    ours = isinstance(cause, OSError | IncompleteRead | PoolError | SSLError)
    return ours and not isinstance(cause, InvalidChunkLength)


def _words(reason: Any) -> str:
    """The last, most telling part of a nested urllib3 error, without object addresses."""
    text = str(reason)
    return first_words(text.rsplit(">: ", 1)[-1] if ">: " in text else text, 200)
