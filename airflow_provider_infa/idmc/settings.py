"""Where to log in, as whom, and how patiently: resolved once, complete or refused."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_provider_infa.idmc.errors import IdmcSettingsError
from airflow_provider_infa.idmc.regions import login_host


@dataclass(frozen=True)
class Settings:
    """
    Everything a session needs to know before its first request.

    :param login_url: Scheme and host of the login host, without a path, for example
        ``https://dm-us.informaticacloud.com``.
    :param username: User name in IDMC.
    :param password: Password; never part of ``repr``.
    :param verify: True checks the server's certificate, False does not, a path names the CA bundle to check with.
    :param connect_timeout: Seconds to wait for a connection.
    :param read_timeout: Seconds without a byte from the server after which an answer is given up. All of an answer, if
        it is no package, may take as long as both timeouts together.
    :param retry_timeout: Seconds for which a call that fails is tried again.
    :param cai_url: Scheme and host of Application Integration, if it can't be told from the API host.
    :param expected_org: Name or id of the org that the login must lead to; any if None.
    :param protected: Whether imports into this org need an approved plan. Checked by who starts them, not here.
    """

    login_url: str
    username: str
    password: str = field(repr=False)
    verify: bool | str = True
    connect_timeout: float = 10.0
    read_timeout: float = 120.0
    retry_timeout: float = 300.0
    cai_url: str | None = None
    expected_org: str | None = None
    protected: bool = False


def login_url(
    host: str | None, *, port: int | None = None, schema: str | None = None, region: str | None = None
) -> str:
    """
    Address of the login host.

    :param host: A host name or a whole address, for a login host that the regions don't name.
    :param port: Port, if ``host`` does not name one.
    :param schema: ``https`` (the default) or ``http``; the latter, for loopback only, where it is the default.
    :param region: POD or region, used without ``host``; see :func:`~airflow_provider_infa.idmc.regions.login_host`.
    :raises IdmcSettingsError: If nothing names a host, if the address is none, or for plain HTTP to another machine.
    """
    if not host:
        if not region:
            raise IdmcSettingsError("Neither Region nor Host is set, so there is no login host.")
        return f"https://{login_host(region)}"
    host = host.strip()
    no_host = "Host must be a host name or an address like https://dm-us.informaticacloud.com."
    if "@" in host:
        # Nothing of it is shown: before the "@" stands a password perhaps, wherever it is that parsers see it end.
        raise IdmcSettingsError(no_host)
    if is_ipv6(host):
        host = f"[{host}]"  # Airflow takes the brackets off when it reads a URI
    try:
        parts = urlsplit(host if "//" in host else f"//{host}")
        name, port = parts.hostname, parts.port or port
    except ValueError as error:
        raise IdmcSettingsError(f"Host {host!r} is no address: {error}.") from None
    if not name or not is_host(name):
        raise IdmcSettingsError(no_host)
    if port is not None and not 0 < port < 65536:
        raise IdmcSettingsError(f"Port {port} is out of range.")
    scheme = (parts.scheme or schema or ("http" if is_loopback(name) else "https")).lower()
    if scheme not in ("http", "https"):
        raise IdmcSettingsError(f"Host {host!r}: the scheme must be https, not {scheme!r}.")
    if scheme == "http" and not is_loopback(name):
        raise IdmcSettingsError(f"Host {host!r}: plain http would send the password in the clear; use https.")
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}:{port}" if port else f"{scheme}://{shown}"


def is_host(name: str) -> bool:
    """
    Whether a text is a plain host name or address.

    Parsers of URLs do not agree about anything else: what looks like a harmless host to one is user information or a
    path to another, and the password would go elsewhere than the check thinks.
    """
    return is_ipv6(name) or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?", name) is not None


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address without brackets."""
    return ":" in text and _is_address(text)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine (RFC 6761 gives ``*.localhost`` to it as well)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_trusted_api_base(api_base: str, login: str) -> bool:
    """
    Whether the session may be sent to the API host that a login named.

    It may if that host speaks https and lies in the domain of the login host (``usw5.dm-us.informaticacloud.com``
    and ``dm-us.informaticacloud.com``), or if both are on this machine.

    :param api_base: ``baseApiUrl`` of the login's answer.
    :param login: Address of the login host.
    """
    try:
        api, home = urlsplit(api_base), urlsplit(login)
        api_host, home_host = (api.hostname or "").rstrip("."), (home.hostname or "").rstrip(".")
        api_port = api.port  # reading it is what checks it
    except ValueError:
        return False
    if api.username or api.password or api_port == 0 or not is_host(api_host):
        return False
    if is_loopback(api_host) or is_loopback(home_host):
        return is_loopback(api_host) and is_loopback(home_host) and api.scheme in ("http", "https")
    # The parent of dm-us.informaticacloud.com; an address, or a name without a parent of its own, has none.
    parent = home_host.partition(".")[2]
    domain = parent if "." in parent and not _is_address(home_host) else home_host
    return api.scheme == "https" and (api_host in (home_host, domain) or api_host.endswith(f".{domain}"))


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
