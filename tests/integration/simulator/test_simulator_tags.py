from __future__ import annotations

import pytest

ORDERS = ("Sales/m_orders", "DTEMPLATE")
TASK = ("Sales/mt_orders", "MTT")
NOTHING = "0000000000000000000000"


def entry(caller, asset, *tags):
    return {"id": caller.id(*asset), "tags": list(tags)}


def tags(caller, asset):
    return caller.state()[":".join(asset)]["tags"]


def test_assign(dev):
    before = dev.state()["Sales/m_orders:DTEMPLATE"]
    answer = dev.post("/TagObjects", json=[entry(dev, ORDERS, "R12 Tag", "release-1"), entry(dev, TASK, "R12 Tag")])
    assert (answer.status_code, answer.content) == (204, b"")
    assert tags(dev, ORDERS) == ["release-1", "R12 Tag"]
    assert dev.paths("tag=='R12 Tag'") == {"Sales/m_orders", "Sales/mt_orders"}
    assert dev.state()["Sales/m_orders:DTEMPLATE"] | {"tags": []} == before | {"tags": []}


def test_remove(dev):
    answer = dev.post("/UntagObjects", json=[entry(dev, TASK, "daily", "not there")])
    assert answer.status_code == 204
    assert tags(dev, TASK) == ["release-1"]


@pytest.mark.parametrize("resource", ["/TagObjects", "/UntagObjects"])
def test_partial_success(dev, resource, v3_error):
    body = [{"id": NOTHING, "tags": ["x"]}, entry(dev, ORDERS, "x")]
    answer = dev.post(resource, json=body)
    assert answer.status_code == 200
    failed, done = answer.json()
    assert failed == {
        "id": NOTHING,
        "status": "FAILED",
        "msg": f"Object: {NOTHING} skipped, missing READ/UPDATE permissions.",
    }
    assert (done["id"], done["status"]) == (dev.id(*ORDERS), "SUCCESS")
    v3_error(dev.post(resource, json=body[:1]), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [{"id": NOTHING}],
        [{"id": NOTHING, "tags": []}],
        [{"id": NOTHING, "tags": [""]}],
        [{"id": NOTHING, "tags": ["x"], "force": True}],
        [{"id": NOTHING, "tags": ["x"]}] * 101,
    ],
)
def test_bodies_are_checked(reader, body, v3_error):
    v3_error(reader.post("/TagObjects", json=body), 400, "V3API_007")


def test_faults(dev):
    dev.simulator.add_fault("dev", {"kind": "throttle", "path": "/TagObjects$", "times": 1})
    assert dev.post("/TagObjects", json=[entry(dev, ORDERS, "x")]).status_code == 429
    assert dev.post("/TagObjects", json=[entry(dev, ORDERS, "x")]).status_code == 204


def overwrite(dev, test_org, mapping, rule, **options):
    test_org.simulator.edit_asset("test", *TASK, tags=["of-test", "daily"])
    package = dev.package(dev.id(*TASK), **options)
    rules = [*mapping, {"sourceObjectId": dev.id(*TASK), **rule}]
    assert test_org.bring(package, {"objectSpecification": rules})["status"]["state"] == "SUCCESSFUL"
    return tags(test_org, TASK)


@pytest.mark.parametrize("name", ["mergeTags", "isTagMergeEnabled", "retaintag"])
def test_merging_on_import(dev, test_org, mapping, name):
    assert overwrite(dev, test_org, mapping, {name: True}) == ["of-test", "daily", "release-1"]


@pytest.mark.parametrize("rule", [{}, {"mergeTags": False}])
def test_replacing_on_import(dev, test_org, mapping, rule):
    assert overwrite(dev, test_org, mapping, rule) == ["release-1", "daily"]


def test_merging_with_a_package_without_tags(dev, test_org, mapping):
    assert overwrite(dev, test_org, mapping, {"mergeTags": True}, tags=False) == ["of-test", "daily"]
