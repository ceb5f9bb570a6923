from __future__ import annotations

import time

import pytest
import requests


def test_expire_session(simulator, dev, v3_error):
    second = dev.session
    dev.login()
    simulator.add_fault("dev", {"kind": "expire_session", "times": 1})
    v3_error(dev.get("/objects"), 401)
    v3_error(dev.get("/objects", session=second), 401)
    dev.login()
    assert dev.get("/objects").ok
    assert simulator.sessions("dev")["expired"] == 2


def test_throttle(simulator, dev, v3_error):
    simulator.add_fault("dev", {"kind": "throttle", "times": 2, "retry_after": 7})
    answer = dev.get("/objects")
    assert "many requests" in v3_error(answer, 429)["message"]
    assert answer.headers["Retry-After"] == "7"
    assert dev.get("/objects").status_code == 429
    assert dev.get("/objects").ok


@pytest.mark.parametrize("status", [200, 429, 503])
def test_throttle_as_text(simulator, dev, status):
    simulator.add_fault("dev", {"kind": "throttle", "text": True, "status": status})
    answer = dev.get("/objects")
    assert (answer.status_code, answer.text) == (status, "too many requests")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("status", [200, 502, 503, 504])
def test_maintenance(simulator, dev, status):
    simulator.add_fault("dev", {"kind": "maintenance", "status": status})
    answer = dev.get("/objects")
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<html>")
    simulator.clear_faults()
    assert dev.get("/objects").ok


def test_maintenance_of_the_login_host(simulator, dev):
    simulator.add_fault("dev", {"kind": "maintenance", "path": "/login$"})
    with pytest.raises(requests.HTTPError):
        dev.login()


def test_server_error(simulator, dev, v3_error):
    simulator.add_fault("dev", {"kind": "server_error"})
    v3_error(dev.get("/objects"), 500)


def start_export(dev):
    return dev.post("/export", json={"objects": [{"id": dev.id("Sales", "Project")}]})


def test_drop_before_processing(simulator, dev):
    simulator.add_fault("dev", {"kind": "drop_before", "method": "POST", "path": "/export$", "times": 1})
    with pytest.raises(requests.ConnectionError):
        start_export(dev)
    assert simulator.jobs("dev") == []
    assert start_export(dev).ok


def test_drop_after_processing(simulator, dev):
    simulator.add_fault("dev", {"kind": "drop_after", "method": "POST", "path": "/export$", "times": 1})
    with pytest.raises(requests.ConnectionError):
        start_export(dev)
    assert len(simulator.jobs("dev")) == 1
    assert simulator.requests("dev")[-1] | {"time": "", "n": 0} == simulator.requests("dev")[-1] | {
        "time": "", "n": 0, "status": 200, "fault": "drop_after",
    }  # fmt: skip


def test_import_start_whose_answer_is_lost(simulator, test_org, release, v3_error):
    job = test_org.upload(release).json()["jobId"]
    simulator.add_fault("test", {"kind": "drop_after", "path": f"/import/{job}$", "method": "POST", "times": 1})
    with pytest.raises(requests.ConnectionError):
        test_org.post(f"/import/{job}", json={})
    assert simulator.jobs("test")[0]["starts"] == 1
    v3_error(test_org.post(f"/import/{job}", json={}), 409)


def test_upload_that_is_dropped(simulator, test_org, release):
    simulator.add_fault("test", {"kind": "drop_before", "path": "/import/package$"})
    with pytest.raises(requests.ConnectionError):
        test_org.upload(release + b"\0" * 3_000_000)
    assert simulator.jobs("test") == []


def test_slow(simulator, dev):
    simulator.add_fault("dev", {"kind": "slow", "seconds": 0.2, "times": 1})
    started = time.monotonic()
    assert dev.get("/objects").ok
    assert time.monotonic() - started >= 0.2


def test_slow_and_then_something_else(simulator, dev):
    simulator.add_fault("dev", {"kind": "slow", "seconds": 0.1})
    simulator.add_fault("dev", {"kind": "throttle"})
    simulator.add_fault("dev", {"kind": "server_error"})
    started = time.monotonic()
    assert dev.get("/objects").status_code == 429
    assert time.monotonic() - started >= 0.1
    assert simulator.requests("dev")[-1]["fault"] == "slow,throttle"


def test_a_slow_call_does_not_hold_up_the_end(serve, caller):
    simulator = serve()
    dev = caller(simulator, "dev")
    simulator.add_fault("dev", {"kind": "slow", "seconds": 30})
    with pytest.raises(requests.Timeout):
        dev.http.get(f"{dev.base}/public/core/v3/objects", timeout=0.05)
    started = time.monotonic()
    simulator.stop()
    assert time.monotonic() - started < 2


def test_truncated_download(simulator, dev):
    job = dev.export(dev.id("Sales", "Project"))
    whole = dev.get(f"/export/{job}/package").content
    simulator.add_fault("dev", {"kind": "truncate", "times": 1})
    answer = dev.get(f"/export/{job}/package", stream=True)
    assert int(answer.headers["Content-Length"]) == len(whole)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(answer.iter_content(1024))
    assert dev.get(f"/export/{job}/package").content == whole


def test_truncated_json(simulator, dev):
    simulator.add_fault("dev", {"kind": "truncate", "path": "/objects$"})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        dev.get("/objects")


def test_jobs_that_never_end(simulator, dev, test_org, release):
    simulator.add_fault("dev", {"kind": "never_end", "times": 1})
    job = start_export(dev).json()["id"]
    assert dev.get(f"/export/{job}").json()["status"]["state"] == "IN_PROGRESS"
    assert dev.get(f"/export/{start_export(dev).json()['id']}").json()["status"]["state"] == "SUCCESSFUL"
    simulator.add_fault("test", {"kind": "never_end", "path": "/import/"})
    assert test_org.result(test_org.start(release))["status"]["state"] == "IN_PROGRESS"


def test_jobs_that_fail(simulator, dev, test_org, release, mapping, v3_error):
    before = test_org.state()
    for org in ("dev", "test"):
        simulator.add_fault(org, {"kind": "fail_job", "message": "Out of luck."})
    job = start_export(dev).json()["id"]
    assert dev.get(f"/export/{job}").json()["status"] == {"state": "FAILED", "message": "Out of luck."}
    assert dev.get(f"/export/{job}/log").text.splitlines()[-1] == "Status: FAILED"
    v3_error(dev.get(f"/export/{job}/package"), 400)
    result = test_org.bring(release, {"objectSpecification": mapping})
    assert result["status"] == {"state": "FAILED", "message": "Out of luck."}
    assert test_org.state() == before


def test_objects_that_fail(simulator, test_org, release, mapping):
    fault = {"kind": "fail_objects", "paths": ["Sales/Staging/m load customers"], "message": "No."}
    simulator.add_fault("test", fault)
    result = test_org.bring(release, {"objectSpecification": mapping})
    assert result["status"]["state"] == "FAILED"
    failed = {key for key, row in result.items() if ":" in key and row["state"] == "FAILED"}
    assert failed == {
        "Sales/Staging/m load customers:DTEMPLATE",
        "Sales/Staging/mt load customers:MTT",
        "Sales/tf_sales_daily:TASKFLOW",
    }
    assert result["Sales/Staging/m load customers:DTEMPLATE"]["message"] == "No."
    assert "Sales/Staging/m load customers" not in test_org.paths()


def test_objects_that_fail_are_all_if_none_is_named(simulator, test_org, release, mapping):
    before = test_org.state()
    simulator.add_fault("test", {"kind": "fail_objects", "times": 1})
    result = test_org.bring(release, {"objectSpecification": mapping})
    assert result["status"]["state"] == "FAILED"
    rows = [row for key, row in result.items() if ":" in key]
    assert rows
    assert {row["state"] for row in rows} == {"FAILED"}
    assert test_org.state() == before


def test_deny(simulator, test_org, release, v3_error):
    simulator.add_fault("test", {"kind": "deny", "times": 1})
    job = test_org.upload(release).json()["jobId"]
    v3_error(test_org.post(f"/import/{job}", json={}), 403, "MigrationSvc_040")
    assert test_org.post(f"/import/{job}", json={}).ok


def test_every_third_call(simulator, dev):
    simulator.add_fault("dev", {"kind": "throttle", "every": 3, "path": "/objects$"})
    assert [dev.get("/objects").status_code for _ in range(6)] == [200, 200, 429, 200, 200, 429]
    (fault,) = simulator.faults("dev")
    assert (fault["seen"], fault["struck"]) == (6, 2)


def test_faults_are_of_one_org(simulator, dev, test_org):
    simulator.add_fault("dev", {"kind": "throttle"})
    assert dev.get("/objects").status_code == 429
    assert test_org.get("/objects").ok


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "earthquake"},
        {"kind": "slow", "second": 1},
        {"kind": "throttle", "times": 0},
        {"kind": "throttle", "every": 0},
        {"kind": "throttle", "times": "many"},
    ],
)
def test_mistyped_faults(simulator, fault):
    with pytest.raises(ValueError, match=r"fault|times|every"):
        simulator.add_fault("dev", fault)
