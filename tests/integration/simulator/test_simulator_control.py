from __future__ import annotations

import pytest
import requests


@pytest.fixture
def control(simulator):
    def call(method, path, **options):
        return requests.request(method, simulator.control + path, timeout=10, **options)

    return call


def test_orgs(control, simulator, dev):
    orgs = control("GET", "/orgs").json()
    assert list(orgs) == ["dev", "test", "prod"]
    assert orgs == simulator.orgs()
    assert control("GET", "/orgs/dev").json() == orgs["dev"]
    assert orgs["dev"]["name"] == "ACME_DEV"
    assert orgs["dev"]["login_url"] == dev.host
    assert orgs["dev"]["api_url"] == dev.base
    assert "of-the-tests" not in str(orgs)


def test_unknown_org(control):
    answer = control("GET", "/orgs/nowhere/jobs")
    assert answer.status_code == 404
    assert "dev, test, prod" in answer.json()["error"]


def test_assets(control, simulator):
    rows = control("GET", "/orgs/dev/assets").json()
    assert rows == simulator.assets("dev")
    task = next(row for row in rows if row["path"] == "Sales/mt_orders")
    assert (task["type"], task["schedule"], task["updated_by"]) == ("MTT", "nightly", "anna")
    assert [use["path"] for use in task["uses"]] == ["DEV_AGENTS", "ff_landing", "ora_dev", "Sales/m_orders"]
    assert {"ora_dev", "DEV_AGENTS", "nightly"} <= {row["path"] for row in rows}


def test_requests(control, simulator, dev):
    dev.get("/objects", params={"q": "tag==x"})
    dev.post("/lookup", json={"objects": []})
    login, listing, lookup = control("GET", "/orgs/dev/requests").json()
    assert login["body"] == {"username": "deployer", "password": "***"}
    assert (login["site"], listing["site"]) == ("login", "api")
    assert (listing["method"], listing["path"], listing["query"]) == (
        "GET",
        "/saas/public/core/v3/objects",
        "q=tag%3D%3Dx",
    )
    assert "INFA-SESSION-ID" in listing["headers"]
    assert dev.session not in str(listing)
    assert lookup["status"] == 400
    assert "at least one item" in lookup["reason"]
    assert [entry["n"] for entry in (login, listing, lookup)] == [1, 2, 3]
    control("DELETE", "/orgs/dev/requests")
    assert simulator.requests("dev") == []
    dev.get("/objects")
    assert simulator.requests("dev")[0]["n"] == 4


def test_sessions(control, dev):
    assert control("GET", "/orgs/dev/sessions").json() == {
        "open": 1, "logins": 1, "failed_logins": 0, "logouts": 0, "expired": 0, "locked": [],
    }  # fmt: skip
    assert control("POST", "/orgs/dev/sessions/expire").json() == {"expired": 1}
    assert dev.get("/objects").status_code == 401


def test_unlock(control, dev):
    dev.password = "wrong"
    for _ in range(10):
        with pytest.raises(requests.HTTPError):
            dev.login()
    assert control("GET", "/orgs/dev/sessions").json()["locked"] == ["deployer"]
    control("POST", "/orgs/dev/unlock")
    assert control("GET", "/orgs/dev/sessions").json()["locked"] == []


def test_jobs(control, simulator, dev, test_org, mapping):
    release = dev.package(dev.id("Sales/mt_orders", "MTT"))
    test_org.start(release, {"objectSpecification": mapping})
    (export,) = control("GET", "/orgs/dev/jobs").json()
    (job,) = control("GET", "/orgs/test/jobs").json()
    assert (export["kind"], export["state"], export["starts"]) == ("export", "SUCCESSFUL", 1)
    assert (job["kind"], job["state"], job["starts"], job["user"]) == ("import", "SUCCESSFUL", 1, "deployer")
    assert export["package_sha256"] == job["package_sha256"]
    assert job["specification"] == {
        "name": "promotion",
        "importSpecification": {"objectSpecification": mapping},
    }
    assert simulator.jobs("test") == [job]


def test_faults(control, dev):
    assert control("POST", "/orgs/dev/faults", json={"kind": "throttle"}).ok
    assert control("POST", "/orgs/dev/faults", json=[{"kind": "slow"}, {"kind": "deny"}]).ok
    assert [fault["kind"] for fault in control("GET", "/orgs/dev/faults").json()] == [
        "throttle",
        "slow",
        "deny",
    ]
    assert dev.get("/objects").status_code == 429
    assert control("DELETE", "/orgs/dev/faults").json() == []
    assert dev.get("/objects").ok
    assert control("POST", "/orgs/dev/faults", json={"kind": "flood"}).status_code == 400


def test_settings(control, dev):
    settings = control("PATCH", "/orgs/dev", json={"job_seconds": 5, "lookup_missing": "error"}).json()
    assert (settings["export_seconds"], settings["import_seconds"], settings["lookup_missing"]) == (
        5,
        5,
        "error",
    )
    job = dev.export(dev.id("Sales", "Project"))
    assert dev.get(f"/export/{job}").json()["status"]["state"] == "IN_PROGRESS"


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": 1},
        {"lookup_missing": "maybe"},
        {"import_seconds": -1},
        {"job_seconds": {"pull": 1}},
        {"idle_timeout": "x"},
    ],
)
def test_mistyped_settings(control, changes):
    answer = control("PATCH", "/orgs/dev", json=changes)
    assert answer.status_code == 400
    assert next(iter(changes)) in answer.json()["error"]


def test_edits(control, dev):
    changes = {
        "path": "Sales/m_orders",
        "type": "DTEMPLATE",
        "tags": ["t"],
        "updated_by": "carl",
        "description": "d",
    }
    assert control("PATCH", "/orgs/dev/assets", json=changes).ok
    (row,) = dev.list("tag==t and updatedBy==carl")
    assert (row["path"], row["description"]) == ("Sales/m_orders", "d")
    assert row["updateTime"] > "2026-03-02T09:15:00Z"
    assert control("DELETE", "/orgs/dev/assets", json={"path": "Sales/m_orders", "type": "DTEMPLATE"}).ok
    assert "Sales/m_orders" not in dev.paths()
    assert control("PATCH", "/orgs/dev/assets", json=changes).status_code == 400
    assert control("PATCH", "/orgs/dev/assets", json={"path": "Sales", "type": "Project", "size": 1}).status_code == 400


def test_python_methods_from_many_threads(simulator, dev):
    from concurrent.futures import ThreadPoolExecutor

    def work(n):
        simulator.add_fault("dev", {"kind": "slow", "seconds": 0, "path": "never"})
        return len(simulator.assets("dev")), dev.http.get(dev.host, timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(40)))) == 1
    assert len(simulator.faults("dev")) == 40


def test_state_can_be_looked_at_after_the_end(serve):
    simulator = serve()
    simulator.stop()
    assert simulator.assets("dev")
    with pytest.raises(LookupError, match="no org 'nowhere'"):
        simulator.assets("nowhere")


def test_state_can_be_compared(control, simulator, test_org, release, mapping):
    before = simulator.state("test")
    assert before == control("GET", "/orgs/test/state").json()
    row = next(row for row in before if row["path"] == "Sales/mt_orders")
    assert row == {
        "path": "Sales/mt_orders",
        "type": "MTT",
        "description": "",
        "tags": [],
        "uses": ["Sales/m_orders", "TEST_AGENTS", "ff_landing", "ora_test"],
        "definition": {"revision": "1"},
        "persisted": {},
        "payload_bytes": 0,
        "schedule": "nightly",
        "published": False,
        "source_control": None,
    }
    simulator.edit_asset("test", "Sales/mt_orders", "MTT", description="")
    assert simulator.state("test") == before
    test_org.bring(release, {"objectSpecification": mapping})
    assert simulator.state("test") != before
    held = next(row for row in before if row["path"] == "Support/mt_tickets")
    assert held["source_control"]["checked_out_by"] == "carla"


def test_edits_of_everything_that_state_shows(simulator, dev):
    simulator.edit_asset(
        "dev",
        "Sales/tf_sales_daily",
        "TASKFLOW",
        published=True,
        schedule="nightly",
        tags=["b", "a"],
        source_control={"checked_out_by": "anna", "hash": "abc"},
    )
    row = dev.state()["Sales/tf_sales_daily:TASKFLOW"]
    assert (row["published"], row["schedule"], row["tags"]) == (True, "nightly", ["b", "a"])
    assert row["source_control"] == {
        "source_controlled": True,
        "checked_out_by": "anna",
        "hash": "abc",
        "last_checkin_by": None,
    }
    assert dev.paths("customAttributes.publishedBy=='anna' and sourceControl.checkedOutBy=='anna'") == {
        "Sales/tf_sales_daily"
    }
    changes = {"published": False, "source_control": None, "schedule": None}
    simulator.edit_asset("dev", "Sales/tf_sales_daily", "TASKFLOW", **changes)
    row = dev.state()["Sales/tf_sales_daily:TASKFLOW"]
    assert (row["published"], row["schedule"], row["source_control"]) == (False, None, None)
