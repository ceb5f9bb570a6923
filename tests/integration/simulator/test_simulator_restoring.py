"""What an import leaves behind, and whether a package of before brings back what was there."""

from __future__ import annotations

import pytest

TASK = ("Sales/mt_orders", "MTT")


def without(state, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in state]


def test_a_package_of_before_brings_everything_back(dev, test_org, release, mapping):
    for path, type_ in (TASK, ("Sales/m_orders", "DTEMPLATE")):
        changes = {"tags": ["of-test"], "description": "as it was", "update_time": "2026-01-20T06:00:13Z"}
        test_org.simulator.edit_asset("test", path, type_, **changes)
    before, rows = test_org.simulator.state("test"), test_org.state()
    backup = test_org.package(
        test_org.id("Sales/m_orders", "DTEMPLATE"), test_org.id(*TASK), test_org.id("Service/p_open_ticket", "PROCESS")
    )
    cai = dev.package(*(row["id"] for row in dev.list("tag=='service-1'")))
    test_org.bring(release, {"objectSpecification": mapping})
    test_org.bring(cai)
    changed = {row["path"]: row for row in test_org.simulator.state("test")}
    assert changed["Sales/mt_orders"]["definition"] == {"revision": "2"}
    made = [key for key in test_org.state() if key not in rows]
    assert len(made) == 6
    assert test_org.bring(backup)["status"]["state"] == "SUCCESSFUL"
    for key in sorted(made, reverse=True):
        test_org.simulator.remove_asset("test", *key.rsplit(":", 1))
    after = test_org.simulator.state("test")
    # Neither schedules nor publications come back with a package.
    assert without(after, "schedule", "published") == without(before, "schedule", "published")
    nightly = test_org.v2("/schedule/name/nightly").json()["id"]
    body = {"@type": "mtTask", "scheduleId": nightly}
    path = f"/mttask/frs/{test_org.id(*TASK)}"
    assert test_org.v2(path, "POST", json=body, headers={"Update-Mode": "PARTIAL"}).ok
    cai_order = ["sc_tickets:AI_SERVICE_CONNECTOR", "ac_tickets:AI_CONNECTION", "p_open_ticket:PROCESS"]
    assert test_org.published(*(f"Service/{each}" for each in cai_order))[0] == "SUCCESS"
    assert test_org.simulator.state("test") == before
    for key, row in rows.items():
        assert test_org.state()[key]["id"] == row["id"]
    assert test_org.state()["Sales/mt_orders:MTT"]["update_time"] > rows["Sales/mt_orders:MTT"]["update_time"]


@pytest.mark.parametrize("state", ["FAILED", "WARNING", "SUCCESSFUL"])
def test_the_others_stay_imported_when_some_fail(test_org, release, mapping, state):
    test_org.simulator.change_settings("test", partial_state=state)
    test_org.simulator.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/m_orders"]})
    result = test_org.bring(release, {"objectSpecification": mapping})
    assert result["status"]["state"] == state
    assert result["Sales/m_orders:DTEMPLATE"]["state"] == "FAILED"
    after = test_org.state()
    assert after["Sales/m_orders:DTEMPLATE"]["definition"] == {"revision": "3"}
    assert after["Sales/mt_orders:MTT"]["definition"] == {"revision": "2"}
    assert "Sales/Staging/mt load customers:MTT" in after


def bring(dev, target, mapping, *flags):
    dev.simulator.edit_asset("dev", *TASK, persisted={"$$last_run": "in dev"})
    package = dev.package(dev.id(*TASK))
    rule = {"sourceObjectId": dev.id(*TASK)}
    if flags:
        rule["additionalProviderFlags"] = [{"key": key, "value": value} for key, value in flags]
    result = target.bring(package, {"objectSpecification": [*mapping, rule]})
    assert result["status"]["state"] == "SUCCESSFUL"
    return target.state()["Sales/mt_orders:MTT"]["persisted"]


IN_TEST, IN_DEV = {"$$last_run": "in test"}, {"$$last_run": "in dev"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {}),
        ([("mapping_conflict_existing", "RESET")], {}),
        ([("mapping_conflict_existing", "RETAIN")], IN_TEST),
        ([("mapping_conflict_existing", "REPLACE")], IN_DEV),
        ([("mapping_conflict_new", "RETAIN")], {}),
        ([("mapping_conflict_policy", "RETAIN")], IN_TEST),
        ([("mapping_conflict_new", "RETAIN"), ("mapping_conflict_existing", "RETAIN")], IN_TEST),
    ],
)
def test_persisted_values_of_an_overwritten_task(dev, test_org, mapping, flags, expected):
    test_org.simulator.edit_asset("test", *TASK, persisted=IN_TEST)
    assert bring(dev, test_org, mapping, *flags) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {}),
        ([("mapping_conflict_new", "RETAIN")], IN_DEV),
        ([("mapping_conflict_new", "RESET")], {}),
        ([("mapping_conflict_existing", "RETAIN")], {}),
    ],
)
def test_persisted_values_of_a_new_task(dev, test_org, mapping, flags, expected):
    test_org.simulator.remove_asset("test", *TASK)
    assert bring(dev, test_org, mapping, *flags) == expected


def test_persisted_values_are_shown(test_org):
    test_org.simulator.edit_asset("test", *TASK, persisted=IN_TEST)
    found = test_org.v2(f"/mttask/frs/{test_org.id(*TASK)}").json()["inOutParameters"]
    assert found == [{"@type": "mtTaskInOutParameter", "name": "$$last_run", "currentValue": "in test"}]
