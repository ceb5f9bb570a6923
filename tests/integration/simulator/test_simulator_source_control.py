from __future__ import annotations

import pytest

TASK = ("Support/mt_tickets", "MTT")
MAPPING = ("Support/m_tickets", "DTEMPLATE")


@pytest.fixture
def owner(test_org):
    """A user of org test, where the project Support is under source control and nothing is checked out."""
    for path, type_ in (TASK, MAPPING):
        test_org.simulator.edit_asset("test", path, type_, source_control=True)
    return test_org


def act(caller, operation, *assets, **more):
    body = {"objects": [{"id": caller.id(*asset)} for asset in assets]} if assets else {}
    answer = caller.post(f"/{operation}", json=body | more)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["id", "status"]
    assert answer.json()["status"]["state"] == "NOT_STARTED"
    return caller.get(f"/sourceControlAction/{answer.json()['id']}", params={"expand": "objects"}).json()


def states(action):
    return {"/".join(row["target"]["path"]): row["status"]["state"] for row in action["objects"]}


def control(caller, asset):
    (row,) = [row for row in caller.list(f"type=='{asset[1]}'") if row["path"] == asset[0]]
    return row["sourceControl"]


def test_checkout(owner):
    action = act(owner, "checkout", TASK, MAPPING)
    assert list(action) == ["id", "action", "startTime", "endTime", "status", "objects"]
    assert (action["action"], action["status"]["state"]) == ("CHECKOUT", "SUCCESSFUL")
    assert states(action) == {"Support/mt_tickets": "SUCCESSFUL", "Support/m_tickets": "SUCCESSFUL"}
    target = action["objects"][0]["target"]
    assert target == {"id": owner.id(*TASK), "path": ["Support", "mt_tickets"], "type": "MTT"}
    assert "objects" not in owner.get(f"/sourceControlAction/{action['id']}").json()
    found = control(owner, TASK)
    assert (found["checkedOutBy"], found["sourceControlled"]) == ("deployer", True)
    assert found["checkedOutTime"] > "2026-03-01T13:37:00Z"
    assert owner.paths("sourceControl.checkedOutBy=='deployer'") == {"Support/mt_tickets", "Support/m_tickets"}


def test_by_path(owner):
    body = {"objects": [{"path": ["Support", "mt_tickets"], "type": "mtt"}]}
    assert owner.post("/checkout", json=body).ok
    assert control(owner, TASK)["checkedOutBy"] == "deployer"


def test_checkout_is_all_or_nothing(test_org):
    test_org.simulator.edit_asset("test", *MAPPING, source_control=True)
    action = act(test_org, "checkout", TASK, MAPPING)
    assert action["status"]["state"] == "FAILED"
    assert states(action) == {"Support/mt_tickets": "FAILED", "Support/m_tickets": "CANCELLED"}
    assert "carla" in action["objects"][0]["status"]["message"]
    assert control(test_org, MAPPING)["checkedOutBy"] is None


@pytest.mark.parametrize("operation", ["checkout", "checkin", "undoCheckout"])
def test_what_is_not_source_controlled(test_org, operation):
    more = {"summary": "s"} if operation == "checkin" else {}
    action = act(test_org, operation, ("Sales/m_orders", "DTEMPLATE"), **more)
    assert states(action) == {"Sales/m_orders": "FAILED"}
    assert control(test_org, ("Sales/m_orders", "DTEMPLATE")) is None


def test_a_second_checkout_fails(owner):
    assert act(owner, "checkout", TASK)["status"]["state"] == "SUCCESSFUL"
    assert act(owner, "checkout", TASK)["status"]["state"] == "FAILED"


def test_containers(owner):
    project = ("Support", "Project")
    assert act(owner, "checkout", project)["status"]["state"] == "FAILED"
    body = {"objects": [{"id": owner.id(*project), "includeContainerAssets": True}]}
    action = owner.post("/checkout", json=body).json()["id"]
    found = owner.get(f"/sourceControlAction/{action}", params={"expand": "objects"}).json()
    assert states(found) == {"Support/mt_tickets": "SUCCESSFUL", "Support/m_tickets": "SUCCESSFUL"}


def test_checkin(owner):
    act(owner, "checkout", TASK)
    action = act(owner, "checkin", TASK, summary="Promotion 12")
    assert (action["action"], action["status"]["state"]) == ("CHECKIN", "SUCCESSFUL")
    assert len(action["commitHash"]) == 40
    found = control(owner, TASK)
    assert (found["checkedOutBy"], found["checkedOutTime"]) == (None, None)
    assert (found["lastCheckinBy"], found["hash"]) == ("deployer", action["commitHash"])
    assert owner.paths(f"sourceControl.hash=='{action['commitHash'][:7]}*'") == {"Support/mt_tickets"}


def test_checkin_of_what_somebody_else_has(test_org):
    assert act(test_org, "checkin", TASK, summary="s")["status"]["state"] == "FAILED"
    assert control(test_org, TASK)["checkedOutBy"] == "carla"


def test_undo_by_objects(owner):
    act(owner, "checkout", TASK)
    owner.simulator.edit_asset("test", *TASK, definition={"revision": "99"}, description="changed")
    action = act(owner, "undoCheckout", TASK)
    assert (action["action"], action["status"]["state"]) == ("UNDO_CHECKOUT", "SUCCESSFUL")
    row = owner.state()["Support/mt_tickets:MTT"]
    assert (row["checked_out_by"], row["source_controlled"]) == (None, True)
    assert (row["definition"], row["description"]) == ({"revision": "1"}, "")


def test_undo_by_checkout(owner, v3_error):
    before = owner.simulator.state("test")
    checkout = act(owner, "checkout", TASK, MAPPING)["id"]
    action = act(owner, "undoCheckout", checkoutOperationId=checkout)
    assert len(states(action)) == 2
    assert owner.simulator.state("test") == before
    v3_error(owner.post("/undoCheckout", json={"checkoutOperationId": action["id"]}), 404)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("checkout", {}),
        ("checkout", {"objects": []}),
        ("checkout", {"objects": [{"path": ["Support", "mt_tickets"]}]}),
        ("checkout", {"objects": [{"path": "Support/mt_tickets", "type": "MTT"}]}),
        ("checkin", {"objects": [{"path": ["Support", "mt_tickets"], "type": "MTT"}]}),
        ("checkin", {"objects": [{"path": ["Support", "mt_tickets"], "type": "MTT"}], "summary": "s" * 256}),
        (
            "checkin",
            {
                "objects": [
                    {"path": ["Support", "mt_tickets"], "type": "MTT"},
                    {"path": ["Support", "m_tickets"], "type": "DTEMPLATE"},
                ],
                "summary": "s",
            },
        ),
        ("undoCheckout", {}),
        ("undoCheckout", {"objects": [{"id": "x"}], "checkoutOperationId": "x"}),
    ],
)
def test_bodies_are_checked(visitor, operation, body, v3_error):
    v3_error(visitor.post(f"/{operation}", json=body), 400, "V3API_007")


def test_unknown(visitor, v3_error):
    v3_error(visitor.post("/checkout", json={"objects": [{"id": "0000000000000000000000"}]}), 404)
    v3_error(visitor.get("/sourceControlAction/0000000000000000000000"), 404)


def test_an_operation_takes_its_time(owner):
    owner.simulator.change_settings("test", source_control_seconds=60)
    action = act(owner, "checkout", TASK)
    assert (action["status"]["state"], action["endTime"], action["objects"]) == ("IN_PROGRESS", None, None)
    assert control(owner, TASK)["checkedOutBy"] is None


def test_operations_that_fail(owner):
    owner.simulator.add_fault("test", {"kind": "fail_job", "message": "Out of luck.", "path": "/checkout$"})
    assert act(owner, "checkout", TASK)["status"] == {"state": "FAILED", "message": "Out of luck."}
    assert control(owner, TASK)["checkedOutBy"] is None
    (job,) = owner.simulator.jobs("test")
    assert (job["kind"], job["state"]) == ("checkout", "FAILED")


def test_an_import_after_a_checkout(dev, owner, mapping):
    package = dev.package(*(row["id"] for row in dev.list("tag=='checked-out'")))
    rules = {"objectSpecification": mapping[:1]}
    refused = owner.bring(package, rules)
    assert "not checked out" in refused["Support/mt_tickets:MTT"]["message"]
    act(owner, "checkout", TASK, MAPPING)
    assert owner.bring(package, rules)["status"]["state"] == "SUCCESSFUL"
    assert act(owner, "checkin", TASK, summary="Promotion")["status"]["state"] == "SUCCESSFUL"
    assert owner.state()["Support/mt_tickets:MTT"]["definition"] == {"revision": "2"}


def test_somebody_elses_checkout_in_the_default_seed(dev, test_org, mapping):
    assert {row["path"] for row in dev.list("tag=='checked-out'")} == {"Support/mt_tickets"}
    package = dev.package(dev.id(*TASK))
    result = test_org.bring(package, {"objectSpecification": mapping[:1]})
    assert "checked out by carla" in result["Support/mt_tickets:MTT"]["message"]
    assert result["Support/m_tickets:DTEMPLATE"]["state"] == "SUCCESSFUL"
