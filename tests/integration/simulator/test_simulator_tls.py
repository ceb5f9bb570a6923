"""The orgs over https, with certificates that are made for these tests."""

from __future__ import annotations

import pytest
import requests
import trustme

from airflow_provider_infa.simulator import Simulator
from airflow_provider_infa.simulator.cli import main

PASSWORD = "of-the-tests"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Certificate, key and authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, ca = (folder / f"{name}.pem" for name in ("cert", "key", "ca"))
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    return cert, key, ca


@pytest.fixture
def secure(files):
    with Simulator(passwords=PASSWORD, tls=files[:2], tls_ca=files[2]) as running:
        yield running


@pytest.fixture
def org(secure, files, caller):
    class Secure(caller):
        def login(self):
            self.http.verify = str(files[2])
            super().login()

    return Secure(secure, "dev")


def test_a_client_can_verify_with_what_the_connection_names(secure, org, files):
    for connection in secure.connections.values():
        assert connection["host"].startswith("https://127.0.0.1:")
        assert connection["extra"] == {"ca_bundle": str(files[2])}
    assert secure.ready["connections"] == secure.connections
    assert org.base.startswith("https://127.0.0.1:")
    assert "Sales/mt_orders" in org.paths()
    assert org.published("Sales/tf_sales_daily:TASKFLOW")[0] == "SUCCESS"


def test_a_client_without_the_authority_refuses(secure):
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        requests.get(secure.connections["infa_dev"]["host"], timeout=10)


def test_plain_http_is_not_answered(secure):
    host = secure.connections["infa_dev"]["host"].replace("https", "http")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(host, timeout=10)


def test_packages_travel_whole(secure, org, mapping):
    package = org.package(*(row["id"] for row in org.list("tag=='release-1'")))
    target = type(org)(secure, "test")
    assert target.bring(package, {"objectSpecification": mapping})["status"]["state"] == "SUCCESSFUL"


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_connections_are_severed(secure, org, kind):
    secure.add_fault("dev", {"kind": kind, "times": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        org.get("/objects")
    assert org.get("/objects").ok


def test_packages_are_cut_off(secure, org):
    job = org.export(org.id("Sales/mt_orders", "MTT"))
    assert org.get(f"/export/{job}/package").ok
    secure.add_fault("dev", {"kind": "truncate", "times": 1})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        org.get(f"/export/{job}/package")


def test_the_control_endpoint_stays_as_it_is(secure):
    assert requests.get(f"{secure.control}/orgs/dev", timeout=10).json()["api_url"].startswith("https://")


def test_without_an_authority_the_connections_name_none(files):
    with Simulator(tls=files[:2]) as running:
        assert "extra" not in running.connections["infa_dev"]
    with Simulator() as running:
        assert "extra" not in running.connections["infa_dev"]


def test_command_line(launch, files):
    cert, key, ca = map(str, files)
    _, ready = launch("--tls-cert", cert, "--tls-key", key, "--tls-ca", ca)
    connection = ready["connections"]["infa_dev"]
    body = {"username": connection["login"], "password": connection["password"]}
    answer = requests.post(
        f"{connection['host']}/saas/public/core/v3/login",
        json=body,
        verify=connection["extra"]["ca_bundle"],
        timeout=10,
    )
    assert answer.json()["products"][0]["baseApiUrl"].startswith("https://")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--tls-cert", "{cert}"], 2, "belong together"),
        (["--tls-key", "{key}"], 2, "belong together"),
        (["--tls-ca", "{ca}"], 1, "without a certificate"),
        (["--tls-cert", "{cert}", "--tls-key", "/nowhere.pem"], 1, "No such file"),
        (["--tls-cert", "{cert}", "--tls-key", "{cert}"], 1, "PEM"),
        (["--tls-cert", "{cert}", "--tls-key", "{key}", "--tls-ca", "/nowhere.pem"], 1, "nowhere.pem"),
    ],
)
def test_mistakes(capsys, files, arguments, status, text):
    names = dict(zip(("cert", "key", "ca"), files, strict=True))
    try:
        returned = main([argument.format(**names) for argument in arguments])
    except SystemExit as error:
        returned = error.code
    assert returned == status
    assert text in capsys.readouterr().err
