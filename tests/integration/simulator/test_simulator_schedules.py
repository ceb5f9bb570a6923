from __future__ import annotations

import pytest

# Of infapy's captured answer (2021).
FIELDS = [
    "id", "createTime", "updateTime", "createdBy", "updatedBy", "name", "rangeStartTime", "rangeEndTime", "status",
    "frequency", "description", "mon", "tue", "wed", "thu", "fri", "sat", "sun", "weekDay", "dayOfMonth",
    "weekOfMonth", "dayOfWeek", "scheduleFederatedId", "startTime", "endTime", "interval",
]  # fmt: skip
PARTIAL = {"Update-Mode": "PARTIAL"}


def names(caller, q):
    answer = caller.get("/schedule", params={"q": q})
    answer.raise_for_status()
    return [row["name"] for row in answer.json()["schedules"]]


def task(caller, path="Sales/mt_orders"):
    return caller.v2(f"/mttask/frs/{caller.id(path, 'MTT')}").json()


def link(caller, schedule, *, headers=PARTIAL, **body):
    body = {"@type": "mtTask", "scheduleId": schedule} | body
    return caller.v2(f"/mttask/{task(caller)['id']}", "POST", json=body, headers=headers)


def test_lookup_by_bare_name(visitor):
    answer = visitor.post("/lookup", json={"objects": [{"path": "nightly", "type": "schedule"}]}).json()
    assert (answer["objects"][0]["path"], answer["objects"][0]["type"]) == ("nightly", "SCHEDULE")


def test_v3_list(visitor):
    answer = visitor.get("/schedule").json()
    assert list(answer) == ["count", "schedules"]
    assert answer["count"] == 2
    hourly, nightly = answer["schedules"]
    assert list(nightly) == FIELDS
    assert (nightly["name"], nightly["status"], nightly["interval"]) == ("nightly", "enabled", "Daily")
    assert (hourly["status"], hourly["interval"]) == ("disabled", "Hourly")
    assert nightly["scheduleFederatedId"] == visitor.id("nightly", "SCHEDULE")
    assert nightly["startTime"].endswith(".000Z")
    assert len(nightly["id"]) == 36
    assert visitor.get(f"/schedule/{nightly['id']}").json() == nightly


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("name=='nightly'", ["nightly"]),
        ("status=='Disabled'", ["hourly"]),
        ('status!="disabled";interval==Daily', ["nightly"]),
        ("interval!='Hourly' and updatedBy=='deployer'", ["nightly"]),
        ("name=='weekly'", []),
    ],
)
def test_v3_filter(visitor, q, expected):
    assert names(visitor, q) == expected


@pytest.mark.parametrize("q", ["type=='SCHEDULE'", "name!='nightly'", "interval<'Daily'", ""])
def test_v3_filters_that_are_refused(visitor, q, v3_error):
    v3_error(visitor.get("/schedule", params={"q": q}), 400, "V3API_007")


def test_v3_unknown(visitor, v3_error):
    v3_error(visitor.get(f"/schedule/{visitor.id('nightly', 'SCHEDULE')}"), 404)


def test_v2(visitor):
    _, nightly = visitor.v2("/schedule").json()
    assert (nightly["@type"], nightly["name"], nightly["interval"]) == ("schedule", "nightly", "Daily")
    assert len(nightly["id"]) == 20
    assert visitor.v2("/schedule/name/nightly").json() == nightly
    assert visitor.v2(f"/schedule/{nightly['id']}").json() == nightly
    assert visitor.get("/schedule").json()["schedules"][1]["id"].endswith(nightly["id"][6:])


@pytest.mark.parametrize("path", ["/schedule/name/weekly", "/schedule/9999", "/mttask/name/nothing"])
def test_v2_unknown(visitor, path):
    answer = visitor.v2(path)
    assert (answer.status_code, answer.json()["@type"]) == (403, "error")


def test_v2_refuses_federated_ids(visitor):
    for path in ("/schedule/" + visitor.id("nightly", "SCHEDULE"), "/mttask/" + visitor.id("Sales/mt_orders", "MTT")):
        assert "not a valid argument" in visitor.v2(path).json()["description"]
    assert visitor.v2("/mttask/frs/" + visitor.id("nightly", "SCHEDULE")).status_code == 403


def test_mapping_task(visitor):
    found = task(visitor)
    assert (found["@type"], found["name"], found["description"]) == ("mtTask", "mt_orders", "")
    assert found["frsGuid"] == visitor.id("Sales/mt_orders", "MTT")
    assert found["id"][6:8] == "0Z"
    assert found["mappingId"][6:8] == "17"
    assert found["runtimeEnvironmentId"] == visitor.v2("/runtimeEnvironment").json()[0]["id"]
    assert found["scheduleId"] == visitor.v2("/schedule/name/nightly").json()["id"]
    assert visitor.v2(f"/mttask/{found['id']}").json() == found
    assert visitor.v2("/mttask/name/mt_orders").json() == found
    assert found in visitor.v2("/mttask").json()


def test_link(test_org):
    hourly = test_org.v2("/schedule/name/hourly").json()["id"]
    answer = link(test_org, hourly)
    assert answer.status_code == 200
    assert answer.json()["scheduleId"] == task(test_org)["scheduleId"] == hourly
    row = test_org.state()["Sales/mt_orders:MTT"]
    assert (row["schedule"], row["updated_by"]) == ("hourly", "deployer")
    assert row["update_time"] > "2026-01-20T06:00:13Z"


def test_link_by_federated_id_of_the_task(test_org):
    hourly = test_org.v2("/schedule/name/hourly").json()["id"]
    path = f"/mttask/frs/{test_org.id('Sales/mt_orders', 'MTT')}"
    assert test_org.v2(path, "POST", json={"@type": "mtTask", "scheduleId": hourly}, headers=PARTIAL).ok
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] == "hourly"


@pytest.mark.parametrize("nothing", ["", None])
def test_unlink(test_org, nothing):
    assert link(test_org, nothing).json()["scheduleId"] is None
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] is None


def test_a_partial_update_leaves_the_rest(test_org):
    before = test_org.simulator.state("test")
    assert link(test_org, task(test_org)["scheduleId"]).ok
    assert test_org.simulator.state("test") == before


def test_a_full_update(test_org):
    whole = task(test_org)
    path = f"/mttask/{whole['id']}"
    assert test_org.v2(path, "POST", json=whole | {"description": "new"}).json()["description"] == "new"
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] == "nightly"
    whole = task(test_org)
    del whole["scheduleId"]
    assert test_org.v2(path, "POST", json=whole).ok
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] is None


@pytest.mark.parametrize(
    "options",
    [{"headers": {}}, {"name": "other"}, {"@type": "task"}, {"scheduleName": "nightly"}],
)
def test_updates_that_are_refused(test_org, options):
    hourly = test_org.v2("/schedule/name/hourly").json()["id"]
    answer = link(test_org, hourly, **options)
    assert (answer.status_code, answer.json()["@type"]) == (400, "error")
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] == "nightly"


def test_an_update_without_type_gets_an_html_page(test_org):
    answer = test_org.v2(f"/mttask/{task(test_org)['id']}", "POST", json={"scheduleId": ""}, headers=PARTIAL)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")


def test_schedules_are_linked_by_their_v2_id_only(test_org):
    v3 = next(row["id"] for row in test_org.get("/schedule").json()["schedules"])
    for id_ in (v3, test_org.id("hourly", "SCHEDULE"), "hourly"):
        assert link(test_org, id_).status_code == 403


def test_a_task_that_somebody_else_has_checked_out(test_org):
    path = f"/mttask/frs/{test_org.id('Support/mt_tickets', 'MTT')}"
    body = {"@type": "mtTask", "scheduleId": ""}
    assert test_org.v2(path, "POST", json=body, headers=PARTIAL).status_code == 403
    test_org.simulator.edit_asset("test", "Support/mt_tickets", "MTT", checked_out_by="deployer")
    assert test_org.v2(path, "POST", json=body, headers=PARTIAL).ok


def test_relinking_after_an_import(test_org, release, mapping):
    before = task(test_org)["scheduleId"]
    test_org.bring(release, {"objectSpecification": mapping})
    assert task(test_org)["scheduleId"] is None
    assert link(test_org, before).ok
    assert test_org.state()["Sales/mt_orders:MTT"]["schedule"] == "nightly"


def test_faults(test_org):
    test_org.simulator.add_fault("test", {"kind": "throttle", "path": "/mttask", "times": 1})
    assert test_org.v2("/mttask").status_code == 429
    test_org.simulator.add_fault("test", {"kind": "server_error", "method": "POST", "path": "/mttask", "times": 1})
    assert link(test_org, "").status_code == 500
