"""Who meets whom in the target, and what becomes of it."""

from __future__ import annotations

import pytest


def rule(source, target=None, **more):
    return {"sourceObjectId": source} | ({"targetObjectId": target} if target else {}) | more


def test_reuse_as_default(test_org, release, mapping):
    before = test_org.state()
    result = test_org.bring(release, {"defaultConflictResolution": "REUSE", "objectSpecification": mapping})
    assert result["Sales/m_orders:DTEMPLATE"]["message"] == "Reuse existing object"
    assert result["Sales/tf_sales_daily:TASKFLOW"]["message"] == "Create object"
    assert test_org.state()["Sales/m_orders:DTEMPLATE"] == before["Sales/m_orders:DTEMPLATE"]


def test_resolution_of_one_asset(dev, test_org, release, mapping):
    rules = [*mapping, rule(dev.id("Sales/m_orders", "DTEMPLATE"), conflictResolution="REUSE")]
    result = test_org.bring(release, {"defaultConflictResolution": "OVERWRITE", "objectSpecification": rules})
    assert result["Sales/m_orders:DTEMPLATE"]["message"] == "Reuse existing object"
    assert result["Sales/mt_orders:MTT"]["message"] == "Overwrite existing object"


def test_connections_are_reused_whatever_the_default(test_org, release, mapping):
    result = test_org.bring(release, {"defaultConflictResolution": "OVERWRITE", "objectSpecification": mapping})
    assert result["sf_crm:Connection"]["message"] == "Reuse existing object"
    assert result["Sales:Project"]["message"] == "Reuse existing object"


@pytest.mark.parametrize(
    ("path", "type"), [("ora_dev", "Connection"), ("Sales", "Project"), ("DEV_AGENTS", "AgentGroup")]
)
def test_resolution_is_for_assets_only(reader, visitor, release, path, type, v3_error):
    job = visitor.upload(release).json()["jobId"]
    rules = [rule(reader.id(path, type), conflictResolution="OVERWRITE")]
    v3_error(visitor.post(f"/import/{job}", json={"importSpecification": {"objectSpecification": rules}}), 400)


@pytest.mark.parametrize(
    "case", ["unknown source", "unknown target", "other type", "other connector", "twice", "include"]
)
def test_specifications_that_do_not_fit(reader, visitor, release, mapping, case, v3_error):
    ora = reader.id("ora_dev", "Connection")
    specification = {
        "unknown source": {"objectSpecification": [rule("0000000000000000000000", mapping[1]["targetObjectId"])]},
        "unknown target": {"objectSpecification": [rule(ora, "0000000000000000000000")]},
        "other type": {"objectSpecification": [rule(ora, mapping[0]["targetObjectId"])]},
        "other connector": {"objectSpecification": [rule(ora, visitor.id("sf_crm", "Connection"))]},
        "twice": {"objectSpecification": [*mapping, mapping[0]]},
        "include": {"includeObjects": ["0000000000000000000000"]},
    }[case]
    job = visitor.upload(release).json()["jobId"]
    error = v3_error(visitor.post(f"/import/{job}", json={"importSpecification": specification}), 400)
    assert error["code"].startswith("MigrationSvc_")
    assert visitor.get(f"/import/{job}").json()["status"]["state"] == "NOT_STARTED"


def test_project_to_project(serve, caller, dev, release):
    target = serve({"orgs": {"one": {"projects": ["Vertrieb"], "runtime_environments": ["DEV_AGENTS"]}}})
    one = caller(target, "one")
    result = one.bring(
        release, {"objectSpecification": [rule(dev.id("Sales", "Project"), one.id("Vertrieb", "Project"))]}
    )
    assert result["status"]["state"] == "SUCCESSFUL"
    assert result["Sales/mt_orders:MTT"]["target"]["path"] == "/Vertrieb"
    assert {"Vertrieb/mt_orders", "Vertrieb/Staging", "Vertrieb/Staging/mt load customers"} <= one.paths()
    assert not any(path.startswith("Sales") for path in one.paths())
    log = one.get(f"/import/{result['id']}/log").text
    assert "[/Explore/Sales/mt_orders]" in log
    assert "to [/Explore/Vertrieb/mt_orders]" in log


def test_asset_to_asset(dev, test_org, release, mapping):
    target = test_org.id("Finance/m_ledger", "DTEMPLATE")
    rules = [*mapping, rule(dev.id("Sales/m_orders", "DTEMPLATE"), target)]
    result = test_org.bring(release, {"objectSpecification": rules})
    assert result["Sales/m_orders:DTEMPLATE"]["target"]["path"] == "/Finance"
    assert result["Sales/m_orders:DTEMPLATE"]["target"]["name"] == "m_ledger"
    state = test_org.state()
    assert state["Finance/m_ledger:DTEMPLATE"]["definition"] == {"revision": "4"}
    assert "Finance/m_ledger" in {use["path"] for use in state["Sales/mt_orders:MTT"]["uses"]}
    assert state["Sales/m_orders:DTEMPLATE"]["definition"] == {"revision": "3"}


def test_one_asset_brings_what_the_target_lacks(dev, prod):
    package = dev.package(dev.id("Sales/Staging/m load customers", "DTEMPLATE"), dev.id("Sales/m_orders", "DTEMPLATE"))
    specification = {
        "includeObjects": [dev.id("Sales/Staging/m load customers", "DTEMPLATE")],
        "objectSpecification": [
            rule(dev.id("ora_dev", "Connection"), prod.id("ora_prod", "Connection")),
            rule(dev.id("DEV_AGENTS", "AgentGroup"), prod.id("PROD_AGENTS", "AgentGroup")),
        ],
    }
    result = prod.bring(package, specification)
    assert result["status"]["state"] == "SUCCESSFUL", result
    keys = {key for key in result if ":" in key}
    assert {"Sales:Project", "Sales/Staging:Folder", "Sales/Staging/m load customers:DTEMPLATE"} <= keys
    assert "Sales/m_orders:DTEMPLATE" not in keys
    assert prod.paths() == {"Default", "Sales", "Sales/Staging", "Sales/Staging/m load customers"}


def test_one_asset_does_not_bring_its_mapping(dev, prod):
    package = dev.package(dev.id("Sales/mt_orders", "MTT"))
    specification = {
        "includeObjects": [dev.id("Sales/mt_orders", "MTT")],
        "objectSpecification": [rule(dev.id("DEV_AGENTS", "AgentGroup"), prod.id("PROD_AGENTS", "AgentGroup"))],
    }
    result = prod.bring(package, specification)
    assert result["status"]["state"] == "FAILED"
    assert "m_orders//Explore/Sales" in result["Sales/mt_orders:MTT"]["message"]


def test_a_project_brings_its_dependents(dev, prod):
    package = dev.package(dev.id("Sales", "Project"), dev.id("Finance", "Project"))
    specification = {
        "includeObjects": [dev.id("Finance", "Project")],
        "objectSpecification": [
            rule(dev.id("ora_dev", "Connection"), prod.id("ora_prod", "Connection")),
            rule(dev.id("DEV_AGENTS", "AgentGroup"), prod.id("PROD_AGENTS", "AgentGroup")),
        ],
    }
    result = prod.bring(package, specification)
    assert result["status"]["state"] == "SUCCESSFUL", result
    assert {path.partition("/")[0] for path in prod.paths()} == {"Default", "Finance"}
    assert len(prod.paths("tag=='release-2'")) == 6


def test_dependents_may_be_in_the_target_alone(dev, test_org):
    dev.simulator.edit_asset("dev", "Sales/mt_orders", "MTT", definition={"revision": "77"})
    test_org.simulator.remove_asset("test", "Sales/mt_orders", "MTT")
    dev_only = dev.package(dev.id("Finance/m_ledger", "DTEMPLATE"), dependencies=False)
    result = test_org.bring(dev_only)
    assert "mplt_currency" in result["Finance/m_ledger:DTEMPLATE"]["message"]
    test_org.bring(dev.package(dev.id("Finance/mplt_currency", "DMAPPLET"), dependencies=False))
    result = test_org.bring(dev_only)
    assert "mplt_currency" not in result["Finance/m_ledger:DTEMPLATE"]["message"]
    assert "ora_dev//SYS" in result["Finance/m_ledger:DTEMPLATE"]["message"]


def test_missing_containers_and_connections_are_made(dev, prod):
    package = dev.package(dev.id("Sales/mt_orders", "MTT"))
    rules = [
        rule(dev.id("DEV_AGENTS", "AgentGroup"), prod.id("PROD_AGENTS", "AgentGroup")),
        rule(dev.id("ora_dev", "Connection"), prod.id("ora_prod", "Connection")),
    ]
    result = prod.bring(package, {"objectSpecification": rules})
    assert result["ff_landing:Connection"]["message"] == "Create object"
    made = prod.state()["ff_landing:Connection"]
    assert made["definition"]["type"] == "CSVFile"
    assert [use["path"] for use in made["uses"]] == ["PROD_AGENTS"]
    assert made["context_id"][6:8] == "0B"


@pytest.mark.parametrize(("holder", "state"), [("anna", "FAILED"), (None, "FAILED"), ("deployer", "SUCCESSFUL")])
def test_source_control(test_org, release, mapping, holder, state):
    test_org.simulator.edit_asset("test", "Sales/m_orders", "DTEMPLATE", checked_out_by=holder)
    before = test_org.state()["Sales/m_orders:DTEMPLATE"]
    result = test_org.bring(release, {"objectSpecification": mapping})
    assert result["Sales/m_orders:DTEMPLATE"]["state"] == state
    # What uses it can go on with the one that is there.
    assert result["Sales/mt_orders:MTT"]["state"] == "SUCCESSFUL"
    if state == "FAILED":
        assert "checked out" in result["Sales/m_orders:DTEMPLATE"]["message"]
        assert test_org.state()["Sales/m_orders:DTEMPLATE"] == before
        assert result["status"]["state"] == "FAILED"


def test_source_control_does_not_keep_from_reusing(test_org, release, mapping):
    test_org.simulator.edit_asset("test", "Sales/m_orders", "DTEMPLATE", checked_out_by="anna")
    result = test_org.bring(release, {"defaultConflictResolution": "REUSE", "objectSpecification": mapping})
    assert result["status"]["state"] == "SUCCESSFUL"


@pytest.mark.parametrize("state", ["FAILED", "WARNING", "SUCCESSFUL"])
def test_state_of_a_partial_import(test_org, release, state):
    test_org.simulator.change_settings("test", partial_state=state)
    result = test_org.bring(release)
    assert result["status"]["state"] == state
    assert {row["status"]["state"] for row in result["objects"]} == {"FAILED", "SUCCESSFUL"}
