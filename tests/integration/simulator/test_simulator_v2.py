from __future__ import annotations

import pytest
import requests


def post(host, call, body, **headers):
    return requests.post(f"{host}{call}", json=body, headers=headers, timeout=10)


def credentials(caller, kind="login"):
    return {"@type": kind, "username": caller.user, "password": caller.password}


def test_login_gives_a_session_for_both_versions(dev):
    answer = post(dev.host, "/ma/api/v2/user/login", credentials(dev)).json()
    assert answer["serverUrl"] == dev.base
    assert len(answer["orgUuid"]) == 22
    assert len(answer["orgId"]) == 6
    assert dev.get("/objects", session=answer["icSessionId"]).ok


def test_wrong_login(dev):
    answer = post(dev.host, "/ma/api/v2/user/login", credentials(dev) | {"password": "wrong"})
    assert answer.status_code == 400
    assert answer.json() == {
        "@type": "error",
        "code": "UI_10000",
        "description": "User name or password is not valid.",
        "statusCode": 400,
    }


def test_body_without_type_gets_an_html_page(dev):
    answer = post(dev.host, "/ma/api/v2/user/login", {"username": "deployer", "password": "x"})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")


def test_logout(simulator, dev):
    session = post(dev.host, "/ma/api/v2/user/login", credentials(dev)).json()["icSessionId"]
    assert post(dev.base, "/api/v2/user/logout", {"@type": "logout"}, icSessionId=session).ok
    refused = requests.get(f"{dev.base}/api/v2/connection", headers={"icSessionId": session}, timeout=10)
    assert refused.status_code == 401
    assert refused.json()["@type"] == "error"
    assert requests.post(f"{dev.host}/ma/api/v2/user/logout", headers={"icSessionId": dev.session}, timeout=10).ok
    assert simulator.sessions("dev")["open"] == 0


def test_logout_all(simulator, dev):
    dev.login()
    assert simulator.sessions("dev")["open"] == 2
    assert post(dev.host, "/ma/api/v2/user/logoutall", credentials(dev, "logout")).ok
    assert simulator.sessions("dev")["open"] == 0


def test_validate(dev):
    body = {"@type": "validatedToken", "userName": "deployer", "icToken": dev.session}
    valid = post(dev.base, "/api/v2/user/validSessionId", body).json()
    assert valid == {"@type": "validatedToken", "timeUntilExpire": 29, "isValidToken": True}
    invalid = post(dev.base, "/api/v2/user/validSessionId", body | {"icToken": "other"}).json()
    assert invalid["isValidToken"] is False


def test_runtime_environments(dev):
    (environment,) = dev.v2("/runtimeEnvironment").json()
    assert environment["name"] == "DEV_AGENTS"
    assert environment["federatedId"] == dev.id("DEV_AGENTS", "AgentGroup")
    assert len(environment["id"]) == 20
    assert environment["id"][6:8] == "25"
    assert dev.v2("/runtimeEnvironment/name/DEV_AGENTS").json() == environment
    assert dev.v2(f"/runtimeEnvironment/{environment['id']}").json() == environment


def test_connections(dev):
    assert {row["name"] for row in dev.v2("/connection").json()} == {"ora_dev", "sf_crm", "ff_landing"}
    connection = dev.v2("/connection/name/ora_dev").json()
    assert connection["type"] == "Oracle"
    assert connection["id"][6:8] == "0B"
    assert connection["runtimeEnvironmentId"] == dev.v2("/runtimeEnvironment").json()[0]["id"]
    assert dev.v2(f"/connection/{connection['id']}").json() == connection


def test_missing_connection_is_forbidden_not_missing(dev):
    answer = dev.v2("/connection/name/nowhere")
    assert (answer.status_code, answer.json()["code"]) == (403, "APP_13436")


@pytest.mark.parametrize("resource", ["connection", "runtimeEnvironment"])
def test_federated_id_is_refused(dev, resource):
    answer = dev.v2(f"/{resource}/{dev.id('ora_dev', 'Connection')}")
    assert answer.status_code == 403
    assert "not a valid argument" in answer.json()["description"]
