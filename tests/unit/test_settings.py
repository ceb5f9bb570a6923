"""Where the login goes, and where the session may go from there."""

from __future__ import annotations

import dataclasses
import traceback
from urllib.parse import urlsplit

import pytest
from urllib3.util import parse_url

from airflow_provider_infa.idmc.errors import IdmcSettingsError
from airflow_provider_infa.idmc.regions import cai_base
from airflow_provider_infa.idmc.settings import is_loopback, is_trusted_api_base, login_url

from .idmc_doubles import PASSWORD, settings

HOME = "https://dm-us.informaticacloud.com"


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ("dm-us.informaticacloud.com", {}, HOME),
        ("https://dm-us.informaticacloud.com", {}, HOME),
        ("HTTPS://DM-US.InformaticaCloud.COM/", {}, HOME),
        ("https://dm-us.informaticacloud.com/identity-service/home?x=y#z", {}, HOME),
        ("//dm-us.informaticacloud.com", {}, HOME),
        ("dm-us.informaticacloud.com", {"schema": "https"}, HOME),
        ("dm-us.informaticacloud.com", {"port": 443}, f"{HOME}:443"),
        ("dm-us.informaticacloud.com:8443", {"port": 443}, f"{HOME}:8443"),
        ("https://dm-us.informaticacloud.com", {"schema": "http"}, HOME),
        ("idmc.corp.example", {}, "https://idmc.corp.example"),
        ("localhost", {}, "http://localhost"),
        ("localhost", {"schema": "https"}, "https://localhost"),
        ("http://localhost:8080", {}, "http://localhost:8080"),
        ("dev.localhost", {"port": 8081}, "http://dev.localhost:8081"),
        ("127.0.0.1", {"port": 9000}, "http://127.0.0.1:9000"),
        ("127.8.9.1", {}, "http://127.8.9.1"),
        ("[::1]", {"port": 8080}, "http://[::1]:8080"),
        ("http://[::1]:8080", {}, "http://[::1]:8080"),
        ("[2001:db8::7]", {}, "https://[2001:db8::7]"),
        (None, {"region": "USW5"}, HOME),
        ("", {"region": "em"}, "https://dm-em.informaticacloud.com"),
        ("other.example", {"region": "em"}, "https://other.example"),
    ],
)
def test_login_url(host: str | None, options: dict[str, object], expected: str) -> None:
    assert login_url(host, **options) == expected  # type: ignore[arg-type]


def test_ipv6_address_as_airflow_hands_it_over() -> None:
    # Connection.from_uri("infa://u:p@[::1]:8080") leaves host "::1" and port 8080.
    assert login_url("::1", port=8080) == "http://[::1]:8080"


def test_blanks_around_a_pasted_host() -> None:
    assert login_url(" dm-us.informaticacloud.com ") == HOME


@pytest.mark.parametrize(
    ("host", "options", "words"),
    [
        (None, {}, "Neither Region nor Host"),
        ("", {}, "Neither Region nor Host"),
        (None, {"region": "mars"}, "Unknown region"),
        ("http://dm-us.informaticacloud.com", {}, "plain http"),
        ("dm-us.informaticacloud.com", {"schema": "http"}, "plain http"),
        ("http://localhost.evil.example", {}, "plain http"),
        ("http://127.0.0.1.evil.example", {}, "plain http"),
        ("http://10.0.0.1", {}, "plain http"),
        ("http://0.0.0.0", {}, "plain http"),
        ("ftp://dm-us.informaticacloud.com", {}, "https"),
        ("file:///etc/passwd", {}, "Host"),
        ("https://", {}, "Host"),
        ("https://:443", {}, "Host"),
        ("h:99999", {}, "no address"),
        ("h:abc", {}, "no address"),
        ("https://[::1", {}, "no address"),
        ("h", {"port": 99999}, "Port|port"),
        ("a b.example", {}, "Host"),
        ("dm-us.informaticacloud.com\\@evil.example", {}, "Host"),
        ("evil.example\\.informaticacloud.com", {}, "Host"),
    ],
)
def test_login_url_refused(host: str | None, options: dict[str, object], words: str) -> None:
    with pytest.raises(IdmcSettingsError, match=words):
        login_url(host, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "https://someone:not-a-secret@dm-us.informaticacloud.com",
        "u:not-a-secret@x.example",
        # What ends the host for a parser, before the password ends.
        *(f"{scheme}someone:not-a-secret{end}x@x.example" for scheme in ("", "https://", "http://") for end in "#/?["),
        "http://not-a-secret#x@x.example",
        "http://not-a-secret/x@x.example",
        "ftp://not-a-secret?x@x.example",
        "not-a-secret://x#@x.example",
        "https://someone:1234#not-a-secret@x.example",
    ],
)
def test_user_info_in_the_host_is_refused_and_not_repeated(host: str) -> None:
    with pytest.raises(IdmcSettingsError) as caught:
        login_url(host)
    assert "not-a-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("dev.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::2", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


TRUSTED = [
    (f"{HOME}/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com/saas", HOME),
    ("https://USW5.DM-US.informaticacloud.com/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com:443/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com./saas", HOME),
    ("https://na1.dm1-us.informaticacloud.com/saas", HOME),
    ("https://informaticacloud.com/saas", HOME),
    ("http://127.0.0.1:8081/saas", "http://127.0.0.1:8080"),
    ("http://localhost:8081/saas", "http://127.0.0.1:8080"),
    ("http://[::1]:8081/saas", "http://localhost:8080"),
    ("https://localhost:8081/saas", "http://localhost"),
    ("https://idmc.example/saas", "https://idmc.example"),
    ("https://api.idmc.example/saas", "https://idmc.example"),
    ("https://10.1.2.3:8443/saas", "https://10.1.2.3"),
]
FOREIGN = [
    ("https://evil-informaticacloud.com/saas", HOME),
    ("https://informaticacloud.com.evil.example/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com.evil.example/saas", HOME),
    ("https://xinformaticacloud.com/saas", HOME),
    ("https://informaticacloud.co/saas", HOME),
    ("https://evil.example/usw5.dm-us.informaticacloud.com/saas", HOME),
    ("https://evil.example?usw5.dm-us.informaticacloud.com", HOME),
    ("https://evil.example#usw5.dm-us.informaticacloud.com", HOME),
    ("https://usw5.dm-us.informaticacloud.com@evil.example/saas", HOME),
    ("https://x:y@usw5.dm-us.informaticacloud.com/saas", HOME),
    ("https://x@usw5.dm-us.informaticacloud.com/saas", HOME),
    # http clients end the host at a backslash, urlsplit does not.
    ("https://evil.example\\.informaticacloud.com/saas", HOME),
    ("https://evil.example\\@usw5.dm-us.informaticacloud.com/saas", HOME),
    ("http://usw5.dm-us.informaticacloud.com/saas", HOME),
    ("ftp://usw5.dm-us.informaticacloud.com/saas", HOME),
    ("//usw5.dm-us.informaticacloud.com/saas", HOME),
    ("usw5.dm-us.informaticacloud.com/saas", HOME),
    ("", HOME),
    ("https://", HOME),
    ("https://usw5.dm-us.informaticacloud.com:0/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com:99999/saas", HOME),
    ("https://[::1/saas", HOME),
    # Loopback does not lead out, nor the outside in.
    ("http://127.0.0.1:8080/saas", HOME),
    ("https://localhost/saas", HOME),
    ("https://usw5.dm-us.informaticacloud.com/saas", "http://127.0.0.1:8080"),
    ("https://evil.example/saas", "http://localhost"),
    # A domain of one label is nobody's own.
    ("https://other.example/saas", "https://idmc.example"),
    ("https://example/saas", "https://idmc.example"),
    # Addresses have no domain.
    ("https://99.1.2.3/saas", "https://10.1.2.3"),
    ("https://x.1.2.3/saas", "https://10.1.2.3"),
]


@pytest.mark.parametrize(("api", "home"), TRUSTED)
def test_trusted_api_base(api: str, home: str) -> None:
    assert is_trusted_api_base(api, home)


@pytest.mark.parametrize(("api", "home"), FOREIGN)
def test_foreign_api_base(api: str, home: str) -> None:
    assert not is_trusted_api_base(api, home)


@pytest.mark.parametrize(("api", "home"), TRUSTED + FOREIGN)
def test_what_is_trusted_is_where_requests_would_connect(api: str, home: str) -> None:
    """urllib3, which opens the connection, must read the same host as the check did."""
    if is_trusted_api_base(api, home):
        assert (parse_url(api).host or "").strip("[]") == urlsplit(api).hostname


def test_password_is_not_in_repr() -> None:
    assert PASSWORD not in repr(settings())
    assert "deployer" in repr(settings())


def test_what_is_not_set_guards_nothing() -> None:
    made = settings()
    assert (made.cai_url, made.expected_org, made.protected) == (None, None, False)


def test_settings_stay_as_they_are() -> None:
    """Whether an org is protected is decided once, by its connection."""
    made = settings(protected=True, expected_org="ACME_PROD")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.protected = False  # type: ignore[misc]
    assert "ACME_PROD" in repr(made)
    assert PASSWORD not in repr(made)


@pytest.mark.parametrize(("api", "home"), TRUSTED)
def test_the_host_of_application_integration_is_trusted_like_the_api_host(api: str, home: str) -> None:
    """It is made from the API host, and the session goes there, too."""
    assert is_trusted_api_base(cai_base(api.removesuffix("/saas")), home)
