from __future__ import annotations

import re
import time

import pytest


def test_upload(visitor, release):
    answer = visitor.upload(release)
    assert answer.status_code == 200
    assert list(answer.json()) == ["jobId", "jobStatus", "checksumValid"]
    assert answer.json()["jobStatus"] == {"state": "NOT_STARTED", "message": None}
    assert answer.json()["checksumValid"] is True
    assert len(answer.json()["jobId"]) == 22


def test_uploaded_job_can_be_asked_for(visitor, release):
    job = visitor.upload(release).json()["jobId"]
    state = visitor.get(f"/import/{job}", params={"expand": "objects"}).json()
    assert state["status"] == {"state": "NOT_STARTED", "message": None}
    assert re.fullmatch(r"job-\d{13}", state["name"])
    assert (state["startTime"], state["endTime"], state["objects"]) == (None, None, None)
    assert visitor.get(f"/import/{job}/log").text == ""


def test_start(dev, test_org, release, mapping):
    job = test_org.upload(release).json()["jobId"]
    created = test_org.get(f"/import/{job}").json()["createTime"]
    body = {"name": "promotion", "importSpecification": {"objectSpecification": mapping}}
    started = test_org.post(f"/import/{job}", json=body).json()
    assert list(started) == [
        "id", "createTime", "updateTime", "name", "startTime", "endTime", "status", "objects",
        "sourceOrgId", "checksumValid",
    ]  # fmt: skip
    assert started["status"] == {"state": "IN_PROGRESS", "message": "In Progress"}
    assert (started["id"], started["name"], started["createTime"]) == (job, "promotion", created)
    assert created.endswith(".000Z")
    assert (started["endTime"], started["objects"], started["checksumValid"]) == (None, None, True)
    orgs = test_org.simulator.orgs()
    assert started["sourceOrgId"] == orgs["dev"]["id"] != orgs["test"]["id"]
    ended = test_org.get(f"/import/{job}").json()
    assert ended["status"] == {"state": "SUCCESSFUL", "message": "Import completed successfully"}
    assert ended["endTime"].endswith(".000Z")


def test_results_of_a_promotion(test_org, release, mapping):
    result = test_org.bring(release, {"objectSpecification": mapping})
    rows = result["objects"]
    assert [row["sourceObject"]["id"] for row in rows] == sorted(row["sourceObject"]["id"] for row in rows)
    assert all(list(row) == ["sourceObject", "targetObject", "status"] for row in rows)
    assert all(row["targetObject"]["id"] is row["targetObject"]["status"] is None for row in rows)
    messages = {key: value["message"] for key, value in result.items() if ":" in key}
    assert messages == {
        "Sales:Project": "Reuse existing object",
        "Sales/Staging:Folder": "Create object",
        "Sales/m_orders:DTEMPLATE": "Overwrite existing object",
        "Sales/mt_orders:MTT": "Overwrite existing object",
        "Sales/tf_sales_daily:TASKFLOW": "Create object",
        "Sales/Staging/m load customers:DTEMPLATE": "Create object",
        "Sales/Staging/mt load customers:MTT": "Create object",
        "DEV_AGENTS:AgentGroup": "Reuse existing object",
        "ora_dev:Connection": "Reuse existing object",
        "sf_crm:Connection": "Reuse existing object",
        "ff_landing:Connection": "Reuse existing object",
    }
    by_name = {row["sourceObject"]["name"]: row for row in rows}
    assert by_name["mt_orders"]["sourceObject"] | {"id": ""} == {
        "id": "", "name": "mt_orders", "path": "/Sales", "type": "MTT", "description": "",
    }  # fmt: skip
    assert by_name["mt_orders"]["targetObject"] == {
        "id": None, "name": "mt_orders", "path": "/Sales", "type": "MTT", "description": None, "status": None,
    }  # fmt: skip
    assert by_name["Sales"]["targetObject"]["path"] == "/"
    assert by_name["ora_dev"]["targetObject"]["name"] == "ora_test"
    assert by_name["ora_dev"]["sourceObject"]["path"] is by_name["ora_dev"]["sourceObject"]["description"] is None


def test_effect_on_the_target(dev, test_org, release, mapping):
    before = test_org.state()
    test_org.bring(release, {"objectSpecification": mapping})
    source, after = dev.state(), test_org.state()
    made = after["Sales/Staging/mt load customers:MTT"]
    assert made["id"] != source["Sales/Staging/mt load customers:MTT"]["id"]
    assert len(made["id"]) == 22
    assert made["updated_by"] == "deployer"
    assert made["update_time"] > before["Sales/mt_orders:MTT"]["update_time"]
    assert {(use["path"], use["type"]) for use in made["uses"]} == {
        ("TEST_AGENTS", "AgentGroup"),
        ("Sales/Staging/m load customers", "DTEMPLATE"),
        ("sf_crm", "Connection"),
        ("ora_test", "Connection"),
    }
    assert {use["id"] for use in made["uses"]} <= {row["id"] for row in after.values()}
    overwritten = after["Sales/m_orders:DTEMPLATE"]
    assert overwritten["id"] == before["Sales/m_orders:DTEMPLATE"]["id"]
    assert overwritten["definition"] == {"revision": "4"}
    assert overwritten["tags"] == ["release-1"]
    assert after["Sales/mt_orders:MTT"]["schedule"] is None
    assert before["Finance/m_ledger:DTEMPLATE"] == after["Finance/m_ledger:DTEMPLATE"]
    assert {use["path"] for use in after["Sales/tf_sales_daily:TASKFLOW"]["uses"]} == {
        "Sales/mt_orders",
        "Sales/Staging/mt load customers",
    }
    assert test_org.paths("tag=='release-1'") == dev.paths("tag=='release-1'")


def test_tags_are_lost_without_tag_information(dev, test_org, mapping):
    package = dev.package(dev.id("Sales/mt_orders", "MTT"), tags=False)
    test_org.bring(package, {"objectSpecification": mapping})
    assert test_org.state()["Sales/mt_orders:MTT"]["tags"] == []


def test_effect_comes_once_and_at_the_end(serve, caller):
    simulator = serve(job_seconds={"import": 0.4})
    dev, test = caller(simulator, "dev"), caller(simulator, "test")
    simulator.edit_asset("dev", "Finance/mplt_currency", "DMAPPLET", tags=["x"])
    package = dev.package(dev.id("Finance/mplt_currency", "DMAPPLET"))
    job = test.start(package)
    assert test.result(job)["status"]["state"] == "IN_PROGRESS"
    assert test.result(job)["objects"] is None
    assert test.get(f"/import/{job}/log").text.startswith("> OIE_002")
    assert test.paths("tag==x") == set()
    time.sleep(0.45)
    assert test.paths("tag==x") == {"Finance/mplt_currency"}
    made = test.id("Finance/mplt_currency", "DMAPPLET")
    assert test.result(job)["status"]["state"] == test.result(job)["status"]["state"] == "SUCCESSFUL"
    assert test.id("Finance/mplt_currency", "DMAPPLET") == made


def test_second_start_is_refused(test_org, release, v3_error):
    job = test_org.start(release)
    for _ in range(2):
        v3_error(test_org.post(f"/import/{job}", json={"name": "again"}), 409)
    (seen,) = test_org.simulator.jobs("test")
    assert (seen["starts"], seen["start_requests"], seen["name"]) == (1, 3, "promotion")


def test_missing_runtime_environment(test_org, release):
    result = test_org.bring(release)
    assert result["status"]["state"] == "FAILED"
    assert result["ora_dev:Connection"]["state"] == "FAILED"
    assert "is missing the following dependencies" in result["ora_dev:Connection"]["message"]
    assert "DEV_AGENTS" in result["Sales/mt_orders:MTT"]["message"]
    assert result["sf_crm:Connection"]["state"] == "SUCCESSFUL"
    log = test_org.get(f"/import/{result['id']}/log").text
    assert re.search(
        r"> OIE_008 ERROR \S+Z Object \[/SYS/ora_dev\] of type \[Connection\] id \[\w{22}\] "
        r"is missing the following dependencies \[DEV_AGENTS//SYS\]",
        log,
    )
    assert log.splitlines()[-1] == "Status: FAILED"
    assert "ora_dev:Connection" not in test_org.state()


def test_log(test_org, release, mapping):
    result = test_org.bring(release, {"objectSpecification": mapping})
    lines = test_org.get(f"/import/{result['id']}/log").text.splitlines()
    assert lines[0].endswith("Starting import operation.")
    assert lines[2:4] == ["Job Name: promotion", "Organization: ACME_TEST"]
    done = [line for line in lines if "OIE_006" in line]
    assert len(done) == 6
    assert re.fullmatch(
        r"> OIE_006 INFO \S+Z Successfully imported object \[/Explore/Sales/m_orders\] of type \[DTEMPLATE\] "
        r"id \[\w{22}\] to \[/Explore/Sales/m_orders\]",
        next(line for line in done if "/m_orders" in line),
    )
    assert lines[-2:] == ["Source Organization: ACME_DEV", "Status: SUCCESSFUL"]


@pytest.mark.parametrize("path", ["", "/log"])
def test_unknown_job(visitor, path, v3_error):
    v3_error(visitor.get(f"/import/0000000000000000000000{path}"), 404)
    v3_error(visitor.post("/import/0000000000000000000000", json={}), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"name": 1},
        {"specification": {}},
        {"importSpecification": None},
        {"importSpecification": {"defaultConflictResolution": "MERGE"}},
        {"importSpecification": {"defaultConflictResolution": "overwrite"}},
        {"importSpecification": {"includeObjects": []}},
        {"importSpecification": {"includeObjects": [{"id": "x"}]}},
        {"importSpecification": {"objectSpecification": [{"targetObjectId": "x"}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "merge": True}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "mergeTags": "true"}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "mergeTags": True, "tags": True}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "additionalProviderFlags": [
            {"key": "mapping_conflict_existing", "value": "KEEP"}]}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "additionalProviderFlags": [
            {"key": "mapping_conflict_new", "value": "REPLACE"}]}]}},
        {"importSpecification": {"objectSpecification": [{"sourceObjectId": "x", "additionalProviderFlags": [
            {"key": "other", "value": "RESET"}]}]}},
    ],
)  # fmt: skip
def test_bodies_are_checked(visitor, release, body, v3_error):
    job = visitor.upload(release).json()["jobId"]
    v3_error(visitor.post(f"/import/{job}", json=body), 400, "V3API_007")
    assert visitor.get(f"/import/{job}").json()["status"]["state"] == "NOT_STARTED"


def test_start_needs_a_body(test_org, release, v3_error):
    job = test_org.upload(release).json()["jobId"]
    v3_error(test_org.post(f"/import/{job}"), 415)
    v3_error(test_org.post(f"/import/{job}", headers={"Content-Type": "application/json"}), 400, "V3API_007")
    assert test_org.post(f"/import/{job}", json={}).ok


def test_privilege(serve, caller, release, v3_error):
    users = [{"name": "reader", "privileges": ["export"]}]
    org = caller(serve({"orgs": {"one": {"users": users}}}), "one")
    job = org.upload(release).json()["jobId"]
    v3_error(org.post(f"/import/{job}", json={}), 403, "MigrationSvc_040")
    assert org.get(f"/import/{job}").json()["status"]["state"] == "NOT_STARTED"


def test_a_package_may_come_back_to_its_own_org(dev):
    before = dev.state()
    package = dev.package(dev.id("Sales", "Project"))
    dev.simulator.edit_asset("dev", "Sales/m_orders", "DTEMPLATE", definition={"revision": "99"}, tags=[])
    result = dev.bring(package)
    assert result["status"]["state"] == "SUCCESSFUL"
    after = dev.state()
    for key, row in before.items():
        same = {"id", "definition", "tags", "uses", "description"}
        assert {name: after[key][name] for name in same} == {name: row[name] for name in same}, key
