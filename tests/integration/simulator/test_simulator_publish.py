from __future__ import annotations

import re
import time

import pytest
import requests

URI = "/active-bpel/asset/v1"
CONNECTOR = "Service/sc_tickets:AI_SERVICE_CONNECTOR"
CONNECTION = "Service/ac_tickets:AI_CONNECTION"
PROCESS = "Service/p_open_ticket:PROCESS"
GUIDE = "Service/g_open_ticket:GUIDE"
TASKFLOW = "Service/tf_open_tickets:TASKFLOW"
CAI = (CONNECTOR, CONNECTION, PROCESS, GUIDE)


@pytest.fixture
def fresh(dev):
    """A user of org dev, where nothing of the project Service is published."""
    for key in (*CAI, TASKFLOW):
        dev.simulator.edit_asset("dev", *key.split(":"), published=False)
    return dev


def is_published(caller, key):
    return caller.state()[key]["published"]


def test_start(dev):
    answer = dev.publish(CONNECTOR, CONNECTION)
    assert answer.status_code == 202
    assert answer.headers["Content-Type"].startswith("application/vnd.api+json")
    assert list(answer.json()) == ["data", "links"]
    data = answer.json()["data"]
    assert data["type"] == "publish"
    assert re.fullmatch(r"\d{18}", data["id"])
    attributes = data["attributes"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000", attributes.pop("startDate"))
    assert attributes == {
        "jobState": "NOT_STARTED",
        "jobStatusDetail": {},
        "startedBy": "deployer",
        "totalCount": 2,
        "processedCount": 0,
        "assetPaths": [
            "Explore/Service/sc_tickets.AI_SERVICE_CONNECTOR.xml",
            "Explore/Service/ac_tickets.AI_CONNECTION.xml",
        ],
    }
    links = answer.json()["links"]
    assert links["self"] == f"{dev.base.removesuffix('/saas')}{URI}/publish/{data['id']}"
    assert links["status"] == links["self"] + "/Status"
    assert links["self"].startswith("http://")


def test_end(dev):
    job = dev.publish(CONNECTOR, CONNECTION).json()["data"]["id"]
    answer = dev.service("GET", f"{URI}/publish/{job}/Status").json()["data"]
    assert (answer["type"], answer["id"]) == ("publishStatus", job)
    attributes = answer["attributes"]
    assert (attributes["jobState"], attributes["totalCount"], attributes["processedCount"]) == ("SUCCESS", 2, 2)
    assert attributes["jobStatusDetail"] == {"itemStateSummary": {"SUCCESS": 2}}
    assert attributes["endDate"].endswith("+0000")
    row = attributes["itemDetail"][1]
    assert list(row) == [
        "itemIndex", "itemGUID", "itemState", "itemStatusDetail", "itemStartDate", "itemEndDate", "assetPath",
    ]  # fmt: skip
    assert (row["itemIndex"], row["itemState"], row["itemStatusDetail"]) == (1, "SUCCESS", "")
    assert row["itemGUID"] == dev.id("Service/ac_tickets", "AI_CONNECTION")
    assert row["assetPath"] == "Explore/Service/ac_tickets.AI_CONNECTION.xml"
    whole = dev.service("GET", f"{URI}/publish/{job}").json()["data"]
    assert whole["type"] == "publish"
    assert whole["attributes"]["itemDetail"] == attributes["itemDetail"]
    assert len(whole["attributes"]["assetPaths"]) == 2


def test_states_of_a_running_job(serve, caller):
    dev = caller(serve(job_seconds={"publish": 0.6}), "dev")
    job = dev.publish(CONNECTOR).json()["data"]["id"]

    def attributes():
        return dev.service("GET", f"{URI}/publish/{job}/Status").json()["data"]["attributes"]

    found = attributes()
    assert (found["jobState"], found["processedCount"], found["itemDetail"]) == ("NOT_STARTED", 0, [])
    time.sleep(0.25)
    assert attributes()["jobState"] == "IN_PROGRESS"
    assert "endDate" not in attributes()
    time.sleep(0.4)
    assert attributes()["jobState"] == "SUCCESS"


def test_effect(fresh):
    assert fresh.published(CONNECTOR)[0] == "SUCCESS"
    (row,) = fresh.list("type=='AI_SERVICE_CONNECTOR'")
    attributes = row["customAttributes"]
    assert attributes.keys() == {"publishedBy", "publicationDate", "publicationStatus"}
    assert (attributes["publishedBy"], attributes["publicationStatus"]) == ("deployer", "published")
    assert fresh.paths("customAttributes.publishedBy=='deployer'") == {"Service/sc_tickets"}
    assert fresh.paths("customAttributes.publicationDate>2026-03-20T00:00:00Z") == {"Service/sc_tickets"}
    assert is_published(fresh, CONNECTOR)
    assert not is_published(fresh, CONNECTION)


def test_in_order(fresh):
    state, rows = fresh.published(*CAI)
    assert state == "SUCCESS", rows
    assert fresh.published(TASKFLOW)[0] == "SUCCESS"


def test_not_in_order(fresh):
    state, rows = fresh.published(CONNECTION, CONNECTOR, PROCESS)
    assert state == "WARNING"
    assert rows["Service/sc_tickets"] == "SUCCESS "
    assert rows["Service/ac_tickets"].startswith("ERROR")
    assert "Service/sc_tickets [AI_SERVICE_CONNECTOR]" in rows["Service/ac_tickets"]
    assert "Service/ac_tickets [AI_CONNECTION]" in rows["Service/p_open_ticket"]
    assert [is_published(fresh, key) for key in (CONNECTOR, CONNECTION, PROCESS)] == [True, False, False]


def test_what_a_taskflow_uses_of_data_integration_needs_no_publishing(dev):
    assert dev.published("Sales/tf_sales_daily:TASKFLOW")[0] == "SUCCESS"


def test_taskflows_and_the_others_do_not_mix(fresh):
    state, rows = fresh.published(CONNECTOR, TASKFLOW)
    assert state == "FAILED"
    assert all("AvrEntryNotFoundFault" in row for row in rows.values())
    assert not is_published(fresh, CONNECTOR)


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("Service/nothing:PROCESS", "NOT_FOUND"),
        ("Service/sc_tickets:PROCESS", "NOT_FOUND"),
        ("Sales/mt_orders:MTT", "ERROR"),
    ],
)
def test_what_cannot_be_published(dev, path, state):
    job = dev.publish(path).json()["data"]["id"]
    found = dev.service("GET", f"{URI}/publish/{job}/Status").json()["data"]["attributes"]
    assert found["jobState"] == "FAILED"
    assert found["jobStatusDetail"] == {"itemStateSummary": {state: 1}}
    assert ("itemGUID" in found["itemDetail"][0]) is (state == "ERROR")


@pytest.mark.parametrize("state", ["WARNING", "ERROR", "FAILED"])
def test_words_of_partial_failure(dev, state):
    dev.simulator.change_settings("dev", publish_partial_state=state, publish_failed_state="ERROR")
    assert dev.published(CONNECTOR, "Service/nothing:PROCESS")[0] == state
    assert dev.published("Service/nothing:PROCESS")[0] == "ERROR"


def test_unpublish(dev):
    assert dev.published(TASKFLOW, kind="unpublish") == ("SUCCESS", {"Service/tf_open_tickets": "SUCCESS "})
    assert not is_published(dev, TASKFLOW)
    state, rows = dev.published(CONNECTOR, GUIDE, kind="unpublish")
    assert state == "ERROR"
    assert "Service/ac_tickets [AI_CONNECTION]" in rows["Service/sc_tickets"]
    assert dev.published(*reversed(CAI), kind="unpublish")[0] == "SUCCESS"
    assert dev.list("customAttributes.publishedBy=='carla'") == []
    assert dev.published("Service/nothing:PROCESS", CONNECTOR, kind="unpublish")[0] == "WARNING"


def test_jobs_are_asked_for_where_they_were_started(dev, service_error):
    job = dev.publish(CONNECTOR).json()["data"]["id"]
    service_error(dev.service("GET", f"{URI}/unpublish/{job}/Status"), 404)
    service_error(dev.service("GET", f"{URI}/publish/123456789012345678"), 404)
    service_error(dev.service("GET", f"{URI}/publish/{dev.export(dev.id('Sales', 'Project'))}"), 404)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_accept_is_needed(dev, accept, service_error):
    error = service_error(dev.publish(CONNECTOR, headers={"Accept": accept}), 500, "INTERNAL_ERROR")
    assert "RESTEASY003635" in error["detail"]
    job = dev.publish(CONNECTOR).json()["data"]["id"]
    service_error(dev.service("GET", f"{URI}/publish/{job}/Status", headers={"Accept": accept}), 500)


def test_media_type_is_needed(dev, service_error):
    service_error(dev.publish(CONNECTOR, headers={"Content-Type": "application/json"}), 415)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {"type": "publish"}},
        {"data": {"type": "unpublish", "attributes": {"assetPaths": ["Explore/a/b.PROCESS.xml"]}}},
        {"data": {"type": "publish", "attributes": {"assetPaths": []}}},
        {"data": {"type": "publish", "attributes": {"assetPaths": ["Explore/a/b.PROCESS.xml"], "force": True}}},
        {"data": {"type": "publish", "attributes": {"assetPaths": ["Explore/a/b.PROCESS.xml"] * 200}}},
    ],
)
def test_bodies_are_checked(dev, body, service_error):
    service_error(dev.service("POST", f"{URI}/publish", json=body), 400)
    assert dev.simulator.jobs("dev") == []


def test_199_assets(serve, caller):
    generate = {"type": "TASKFLOW", "count": 199, "path": "P/tf_{n}"}
    org = caller(serve({"orgs": {"one": {"assets": [{"generate": generate}]}}}), "one")
    state, rows = org.published(*(f"P/tf_{n}:TASKFLOW" for n in range(1, 200)))
    assert (state, len(rows)) == ("SUCCESS", 199)


def test_session_headers(dev, service_error):
    only = {"INFA-SESSION-ID": None, "IDS-SESSION-ID": dev.session}
    assert dev.publish(CONNECTOR, headers=only).status_code == 202
    service_error(dev.publish(CONNECTOR, headers={"INFA-SESSION-ID": None, "icSessionId": dev.session}), 401)
    service_error(dev.publish(CONNECTOR, headers={"INFA-SESSION-ID": "other"}), 401)


def test_not_under_saas(dev, v3_error):
    body = {"data": {"type": "publish", "attributes": {"assetPaths": ["Explore/a/b.PROCESS.xml"]}}}
    url = f"{dev.base}/active-bpel/asset/v1/publish"
    v3_error(requests.post(url, json=body, headers={"INFA-SESSION-ID": dev.session}, timeout=10), 404)


def test_privilege(serve, caller, service_error):
    org = caller(serve({"orgs": {"one": {"users": [{"name": "u", "privileges": ["import"]}]}}}), "one")
    service_error(org.publish(CONNECTOR), 403)


def test_jobs_and_requests_are_kept(dev):
    job = dev.publish(CONNECTOR).json()["data"]["id"]
    (seen,) = dev.simulator.jobs("dev")
    assert (seen["kind"], seen["id"], seen["state"], seen["user"]) == ("publish", job, "SUCCESS", "deployer")
    assert seen["specification"]["data"]["attributes"]["assetPaths"] == [
        "Explore/Service/sc_tickets.AI_SERVICE_CONNECTOR.xml"
    ]
    assert [row["itemState"] for row in seen["objects"]] == ["SUCCESS"]
    request = dev.simulator.requests("dev")[-1]
    assert (request["method"], request["path"], request["status"]) == ("POST", f"{URI}/publish", 202)
    assert request["body"] == seen["specification"]


def test_an_import_leaves_unpublished(dev, test_org):
    package = dev.package(*(row["id"] for row in dev.list("tag=='service-1'")))
    assert is_published(test_org, PROCESS)
    result = test_org.bring(package)
    assert result["status"]["state"] == "SUCCESSFUL"
    assert [is_published(test_org, key) for key in (*CAI, TASKFLOW)] == [False] * 5
    assert test_org.published(*CAI)[0] == "SUCCESS"
    assert test_org.published(TASKFLOW)[0] == "SUCCESS"


def test_reuse_leaves_published(dev, test_org):
    package = dev.package(dev.id("Service/p_open_ticket", "PROCESS"))
    test_org.bring(package, {"defaultConflictResolution": "REUSE"})
    assert is_published(test_org, PROCESS)


def test_assets_that_fail(fresh):
    fault = {"kind": "fail_publish", "paths": ["Service/ac_tickets"], "message": "No such host.", "times": 1}
    fresh.simulator.add_fault("dev", fault)
    state, rows = fresh.published(*CAI)
    assert state == "WARNING"
    assert rows["Service/ac_tickets"] == "ERROR No such host."
    assert "not published" in rows["Service/g_open_ticket"]
    assert is_published(fresh, CONNECTOR)
    assert fresh.published(*CAI)[0] == "SUCCESS"


def test_assets_that_fail_are_all_if_none_is_named(fresh):
    fresh.simulator.add_fault("dev", {"kind": "fail_publish", "times": 1})
    state, rows = fresh.published(*CAI)
    assert state == "FAILED"
    assert set(rows.values()) == {"ERROR Internal error while publishing the asset."}
    assert not is_published(fresh, CONNECTOR)


def test_jobs_that_fail(fresh):
    fresh.simulator.add_fault("dev", {"kind": "fail_job", "message": "Out of luck.", "path": "/publish$"})
    job = fresh.publish(CONNECTOR).json()["data"]["id"]
    found = fresh.service("GET", f"{URI}/publish/{job}/Status").json()["data"]["attributes"]
    assert (found["jobState"], found["jobStatusDetail"], found["itemDetail"]) == (
        "FAILED",
        {"message": "Out of luck."},
        [],
    )
    assert not is_published(fresh, CONNECTOR)


def test_jobs_that_never_end(fresh):
    fresh.simulator.add_fault("dev", {"kind": "never_end"})
    job = fresh.publish(CONNECTOR).json()["data"]["id"]
    found = fresh.service("GET", f"{URI}/publish/{job}/Status").json()["data"]["attributes"]
    assert found["jobState"] == "IN_PROGRESS"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "expire_session"}, 401),
        ({"kind": "deny", "path": "/publish$"}, 403),
        ({"kind": "throttle", "retry_after": 3}, 429),
        ({"kind": "maintenance"}, 503),
        ({"kind": "server_error"}, 500),
    ],
)
def test_faults(fresh, fault, status):
    fresh.simulator.add_fault("dev", fault | {"times": 1})
    assert fresh.publish(CONNECTOR).status_code == status
    assert fresh.simulator.jobs("dev") == []
    fresh.login()
    assert fresh.publish(CONNECTOR).status_code == 202


@pytest.mark.parametrize(("kind", "count"), [("drop_before", 0), ("drop_after", 1)])
def test_lost_answers(fresh, kind, count):
    fresh.simulator.add_fault("dev", {"kind": kind, "path": "/publish$", "times": 1})
    with pytest.raises(requests.ConnectionError):
        fresh.publish(CONNECTOR)
    assert len(fresh.simulator.jobs("dev")) == count
    assert is_published(fresh, CONNECTOR) is bool(count)


def test_a_slow_start(fresh):
    fresh.simulator.add_fault("dev", {"kind": "slow", "seconds": 0.2, "path": "/publish$"})
    started = time.monotonic()
    assert fresh.publish(CONNECTOR).status_code == 202
    assert time.monotonic() - started >= 0.2
