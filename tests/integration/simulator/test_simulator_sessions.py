from __future__ import annotations

import time

import pytest
import requests

URL = "/saas/public/core/v3"


@pytest.fixture
def host(simulator):
    return simulator.connections["infa_dev"]["host"]


def login(host, username="deployer", password="of-the-tests", **more):
    return requests.post(f"{host}{URL}/login", json={"username": username, "password": password, **more}, timeout=10)


def test_login_tells_session_and_base(host):
    answer = login(host).json()
    assert answer["products"] == [{"name": "Integration Cloud", "baseApiUrl": answer["products"][0]["baseApiUrl"]}]
    assert answer["products"][0]["baseApiUrl"].endswith("/saas")
    assert not answer["products"][0]["baseApiUrl"].startswith(host)
    user = answer["userInfo"]
    assert user["name"] == "deployer"
    assert user["orgName"] == "ACME_DEV"
    assert user["groups"] == {}
    assert user["status"] == "Active"
    assert len(user["sessionId"]) == len(user["orgId"]) == 22


def test_api_host_serves_no_login(dev, v3_error):
    answer = requests.post(f"{dev.base}/public/core/v3/login", json={"username": "a", "password": "b"}, timeout=10)
    v3_error(answer, 401)


@pytest.mark.parametrize(
    "body",
    [
        {"username": "deployer"},
        {"username": "deployer", "password": 1},
        {"username": "deployer", "password": None},
        {"username": "deployer", "password": "x", "@type": "login"},
        {"username": "d" * 256, "password": "x"},
        [],
        "text",
    ],
)
def test_login_body_is_checked(host, body, v3_error):
    v3_error(requests.post(f"{host}{URL}/login", json=body, timeout=10), 400, "V3API_007")


def test_login_takes_json_only(host, v3_error):
    v3_error(requests.post(f"{host}{URL}/login", data={"username": "deployer"}, timeout=10), 415)
    answer = requests.post(f"{host}{URL}/login", data="{", headers={"Content-Type": "application/json"}, timeout=10)
    v3_error(answer, 400, "V3API_007")


def test_wrong_password_and_lock(simulator, host, v3_error):
    for _ in range(10):
        assert v3_error(login(host, password="wrong"), 400, "IDS_085")["message"] == (
            "User name or password is not valid."
        )
    v3_error(login(host), 400, "IDS_086")
    counts = simulator.sessions("dev")
    assert (counts["logins"], counts["failed_logins"], counts["locked"]) == (0, 11, ["deployer"])
    simulator.unlock("dev")
    assert login(host).ok


def test_right_password_forgets_wrong_ones(host):
    for _ in range(3):
        for _ in range(9):
            login(host, password="wrong")
        assert login(host).ok


def test_unknown_user_is_told_nothing_else(host, v3_error):
    v3_error(login(host, username="nobody"), 400, "IDS_085")


@pytest.mark.parametrize("session", ["", "unknown"])
def test_calls_without_session(dev, session, v3_error):
    headers = {"INFA-SESSION-ID": session} if session else {}
    v3_error(requests.get(f"{dev.base}/public/core/v3/objects", headers=headers, timeout=10), 401)


def test_session_of_another_org(dev, prod, v3_error):
    v3_error(dev.get("/objects", session=prod.session), 401)


def test_v3_does_not_take_the_v2_header(dev, v3_error):
    headers = {"icSessionId": dev.session}
    v3_error(requests.get(f"{dev.base}/public/core/v3/objects", headers=headers, timeout=10), 401)


def test_logout_at_either_host(simulator, dev, v3_error):
    headers = {"INFA-SESSION-ID": dev.session}
    assert requests.post(f"{dev.host}{URL}/logout", headers=headers, timeout=10).status_code == 200
    v3_error(requests.post(f"{dev.host}{URL}/logout", headers=headers, timeout=10), 401)
    dev.login()
    assert dev.post("/logout").status_code == 200
    v3_error(dev.get("/objects"), 401)
    counts = simulator.sessions("dev")
    assert (counts["open"], counts["logins"], counts["logouts"]) == (0, 2, 2)


def test_idle_session_expires_and_calls_prolong_it(serve, caller, v3_error):
    dev = caller(serve(idle_timeout=0.4), "dev")
    for _ in range(2):
        time.sleep(0.25)
        assert dev.get("/objects").ok
    time.sleep(0.42)
    v3_error(dev.get("/objects"), 401)


def test_jwt_session_does_not_slide(serve, caller, v3_error):
    simulator = serve(idle_timeout=0.5)
    simulator.change_settings("dev", session_kind="jwt")
    dev = caller(simulator, "dev")
    assert 1000 < len(dev.session) < 16000
    time.sleep(0.3)
    assert dev.get("/objects").ok
    time.sleep(0.3)
    v3_error(dev.get("/objects"), 401)


def test_expire_sessions(simulator, dev, v3_error):
    assert simulator.expire_sessions("dev") == 1
    v3_error(dev.get("/objects"), 401)
    assert simulator.sessions("dev")["expired"] == 1
