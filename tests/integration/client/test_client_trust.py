"""What makes promotions trustworthy, with plain client calls: plan, guards, backup, publish, schedules, verify."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.backup import changed_since, created, describe, existing
from airflow_provider_infa.idmc.exports import download_package, start_export
from airflow_provider_infa.idmc.imports import start_import, upload_package
from airflow_provider_infa.idmc.jobs import get_job, wait
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import Job, JobKind, JobState
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.package import Package, read_package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.idmc.planned import Plan, check_plan
from airflow_provider_infa.idmc.publish import batches, get_publish, is_publishable, start_publish
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.idmc.release import find_objects, parse_release
from airflow_provider_infa.idmc.schedules import find_schedule, link_schedule, schedule_of
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.verify import verify_import
from airflow_provider_infa.idmc.wishes import Wishes
from airflow_provider_infa.simulator import Simulator

Connect = Callable[..., Session]

TO_TEST: dict[str, Any] = {
    "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"},
    "connections": {"ora_dev": "ora_test"},
}


def quick(seconds: float) -> None:
    time.sleep(seconds / 100)


def finished(session: Session, kind: JobKind, job_id: str) -> Job:
    wait(session, kind, job_id, deadline=time.time() + 20, poll_interval=5, sleep=quick)
    return get_job(session, kind, job_id, expand_objects=True)


def exported(session: Session, ids: Sequence[str], file: Path, *, include_dependencies: bool = True) -> Package:
    job = start_export(session, ids, include_dependencies=include_dependencies)
    assert finished(session, JobKind.EXPORT, job.id).outcome is JobState.SUCCESSFUL
    return read_package(download_package(session, job.id, file).path)


def tagged(dev: Session, folder: Path, tag: str) -> Package:
    return exported(dev, [asset.id for asset in list_objects(dev, tag=tag)], folder / f"{tag}.zip")


def imported(target: Session, package: Package, plan: dict[str, Any]) -> Job:
    """Carry a plan out, as it was handed on, if the target still is what it assumed."""
    plan = check_plan(json.loads(json.dumps(plan)))
    job_id = upload_package(target, package.path)
    start_import(
        target,
        job_id,
        import_specification=plan["import_specification"],
        before=lambda: check_target(target, plan),
        sleep=quick,
    )
    return finished(target, JobKind.IMPORT, job_id)


def actions(plan: Plan) -> dict[str, str]:
    return {o.source.path: o.action for o in plan.objects}


def published(session: Session, rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """Publish, and tell what became of each asset."""
    words = {}
    for kind, paths in batches(rows):
        job = start_publish(session, kind, paths)
        wait(session, kind, job.id, deadline=time.time() + 20, poll_interval=5, sleep=quick)
        for result in get_publish(session, kind, job.id, expand_objects=True).objects or ():
            words[result.path] = result.word
    return words


def states(simulator: Simulator, org: str) -> dict[str, dict[str, Any]]:
    return {f"{row['path']}:{row['type']}": row for row in simulator.state(org)}


# the plan ---------------------------------------------------------------------------------------------------------


def test_a_package_without_its_dependencies(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """All that has to come along is named, also what the missing ones need; each id is asked for once."""
    dev, prod = connect("dev"), connect("prod")
    (flow,) = list_objects(dev, types="TASKFLOW", tag="release-1")
    package = exported(dev, [flow.id], tmp_path / "p.zip", include_dependencies=False)
    simulator.clear_requests()
    plan = plan_import(prod, package, Wishes(), source=dev)
    held = {o.path for o in package.objects}
    missing = {o.source.path for o in plan.blocked}
    assert missing - held == {
        "Sales/mt_orders",
        "Sales/Staging/mt load customers",
        "Sales/m_orders",
        "Sales/Staging/m load customers",
        "ff_landing",
        "ora_dev",
        "DEV_AGENTS",
    }
    with pytest.raises(errors.IdmcPlanBlockedError) as caught:
        plan.check()
    text = str(caught.value)
    assert "MTT Sales/mt_orders: Neither the package nor org ACME_PROD has it, and it is needed by Sales/tf_sa" in text
    assert "sf_crm" not in text  # prod has it
    asked = [r["path"] for r in simulator.requests("dev") if r["path"].endswith("/references")]
    assert len(asked) == len(set(asked))
    # With the dependencies, nothing of that is left but what has to be mapped.
    whole = plan_import(prod, exported(dev, [flow.id], tmp_path / "q.zip"), Wishes(), source=dev)
    assert {o.source.path for o in whole.blocked} == {"DEV_AGENTS"}


def test_a_package_without_its_dependencies_is_not_believed(connect: Connect, tmp_path: Path) -> None:
    """Whether or not its manifest tells what was left out, the plan knows."""
    dev, prod = connect("dev"), connect("prod")
    (flow,) = list_objects(dev, types="TASKFLOW", tag="release-1")
    package = exported(dev, [flow.id], tmp_path / "p.zip", include_dependencies=False)
    assert any(o.refs for o in package.objects)
    silent = dataclasses.replace(package, objects=tuple(dataclasses.replace(o, refs=()) for o in package.objects))
    told, asked = (plan_import(prod, made, Wishes(), source=dev) for made in (package, silent))
    assert {o.source.path for o in asked.blocked} == {o.source.path for o in told.blocked} > {"DEV_AGENTS"}


def test_what_the_target_has_is_not_missing(connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    (task,) = lookup(dev, [{"path": "Sales/mt_orders", "type": "MTT"}])
    assert task is not None
    package = exported(dev, [task.id], tmp_path / "p.zip", include_dependencies=False)
    plan = plan_import(target, package, Wishes(**TO_TEST), source=dev)
    # The mapping and the flat-file connection are there; what only dev has, by that name, is not.
    assert {o.source.path for o in plan.blocked} == {"DEV_AGENTS", "ora_dev"}
    assert "Set source_conn_id" in plan_import(target, package, Wishes()).warnings[0]


def test_checked_out_by_somebody_else(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "checked-out")
    before = simulator.state("test")
    plan = plan_import(target, package, Wishes(**TO_TEST), source=dev)
    assert actions(plan)["Support/mt_tickets"] == "blocked"
    assert actions(plan)["Support/m_tickets"] == "overwrite"
    with pytest.raises(
        errors.IdmcPlanBlockedError, match=r"MTT Support/mt_tickets: carla has it checked out there since"
    ):
        plan.check()
    assert "carla has it checked out" in markdown(plan.to_json())
    assert simulator.state("test") == before
    # The way out that the message names.
    plan = plan_import(target, package, Wishes(**TO_TEST, conflict_resolutions={"Support/mt_tickets": "REUSE"}))
    plan.check()
    assert imported(target, package, plan.to_json()).outcome is JobState.SUCCESSFUL
    changed = {key for key, row in states(simulator, "test").items() if row not in before}
    assert changed == {"Support/m_tickets:DTEMPLATE"}


def test_a_check_out_of_the_promoting_user_is_none(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    simulator.edit_asset("test", "Support/mt_tickets", "MTT", checked_out_by="deployer")
    package = tagged(dev, tmp_path, "checked-out")
    plan = plan_import(target, package, Wishes(**TO_TEST), source=dev)
    plan.check()
    assert imported(target, package, plan.to_json()).outcome is JobState.SUCCESSFUL


def test_drift(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    assert plan_import(target, package, Wishes(**TO_TEST)).to_json()["drift"] == []
    simulator.edit_asset("test", "Sales/m_orders", "DTEMPLATE", updated_by="carla", update_time="2026-03-01T10:00:00Z")
    shown = plan_import(target, package, Wishes(**TO_TEST))
    shown.check()
    assert shown.to_json()["drift"] == ["Sales/m_orders"]
    text = "Last changed there by carla at 2026-03-01T10:00:00Z, not by deployer."
    assert text in markdown(shown.to_json())
    with pytest.raises(errors.IdmcPlanBlockedError, match="by carla at"):
        plan_import(target, package, Wishes(**TO_TEST, block_on_drift=True)).check()
    # Whoever has seen it may decide to overwrite it; then the last change is the promoting user's.
    imported(target, package, shown.to_json())
    assert plan_import(target, package, Wishes(**TO_TEST)).to_json()["drift"] == []


def test_planning_changes_nothing_and_repeats(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    before = {org: simulator.assets(org) for org in ("dev", "test")}
    plans = [plan_import(target, package, Wishes(**TO_TEST), source=dev).to_json() for _ in range(2)]
    assert plans[0] == plans[1]
    assert {org: simulator.assets(org) for org in ("dev", "test")} == before
    assert simulator.jobs("test") == []


def test_wrong_orgs(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    with pytest.raises(errors.IdmcWrongOrgError, match="same org"):
        plan_import(dev, package, Wishes())
    with pytest.raises(errors.IdmcWrongOrgError, match="Both connections lead to org ACME_TEST"):
        plan_import(target, package, Wishes(), source=connect("test"))
    with pytest.raises(errors.IdmcWrongOrgError, match="of org ACME_DEV does not come from org ACME_PROD"):
        plan_import(target, package, Wishes(), source=connect("prod"))
    with pytest.raises(errors.IdmcWrongOrgError, match="leads to org 'ACME_TEST'"):
        list(list_objects(connect("test", expected_org="ACME_PROD")))
    assert simulator.jobs("test") == []
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    with pytest.raises(errors.IdmcWrongOrgError, match="The plan is for org ACME_TEST"):
        imported(connect("prod"), package, plan)
    assert sum(job["starts"] for job in simulator.jobs("prod")) == 0


# between plan and start -------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Simulator], None], str]] = {
    "edited": (
        lambda s: s.edit_asset("test", "Sales/m_orders", "DTEMPLATE", updated_by="carla"),
        r"DTEMPLATE Sales/m_orders: carla changed it at .*; the plan knew it as of 2026-01-20T06:00:12Z",
    ),
    "removed": (
        lambda s: s.remove_asset("test", "Sales/mt_orders", "MTT"),
        "MTT Sales/mt_orders: it was to be overwritten, and is no longer there",
    ),
    "checked in": (
        lambda s: s.edit_asset(
            "test", "Sales/m_orders", "DTEMPLATE", source_controlled=True, update_time="2026-01-20T06:00:12Z"
        ),
        "DTEMPLATE Sales/m_orders: It is source controlled there and not checked out",
    ),
    "checked out": (
        lambda s: s.edit_asset(
            "test", "Sales/m_orders", "DTEMPLATE", checked_out_by="carla", update_time="2026-01-20T06:00:12Z"
        ),
        "DTEMPLATE Sales/m_orders: carla has it checked out",
    ),
    "a connection is gone": (
        lambda s: s.remove_asset("test", "sf_crm", "Connection"),
        "Connection sf_crm: it was to be reused, and is no longer there",
    ),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=list(CHANGES))
def test_the_target_changed(
    simulator: Simulator, connect: Connect, tmp_path: Path, change: Callable[[Simulator], None], words: str
) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST))
    plan.check()
    change(simulator)
    before = simulator.assets("test")
    with pytest.raises(errors.IdmcPlanOutdatedError, match=words):
        imported(target, package, plan.to_json())
    assert [job["starts"] for job in simulator.jobs("test")] == [0]
    assert simulator.assets("test") == before
    # Planned again, it is another plan.
    assert plan_import(target, package, Wishes(**TO_TEST)).to_json()["hash"] != plan.to_json()["hash"]


def test_somebody_else_promoted_the_same_meanwhile(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    imported(connect("test"), package, plan)
    with pytest.raises(errors.IdmcPlanOutdatedError, match=r"TASKFLOW Sales/tf_sales_daily: it was missing, and is th"):
        imported(target, package, plan)
    assert sorted(job["starts"] for job in simulator.jobs("test")) == [0, 1]


def test_what_does_not_matter_does_not_stop_it(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    simulator.edit_asset("test", "Finance/m_ledger", "DTEMPLATE", updated_by="carla", checked_out_by="carla")
    simulator.edit_asset("test", "ora_test", "Connection", updated_by="carla")
    simulator.edit_asset("test", "Service/p_open_ticket", "PROCESS", published=False)
    assert imported(target, package, plan).outcome is JobState.SUCCESSFUL


# after the import -------------------------------------------------------------------------------------------------


def test_new_ids_are_found(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    rows = verify_import(target, plan, imported(target, package, plan))
    ids = {(row["path"], row["type"].upper()): row["id"] for row in simulator.assets("test")}
    assert {(r["path"], r["type"].upper()): r["new_id"] for r in rows}.items() <= ids.items()
    assert all(r["new_id"] == r["old_id"] for r in rows if r["old_id"])
    assert {r["source_id"] for r in rows} == {o.id for o in package.objects}


def test_an_import_that_did_not_do_all(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """Also when the job calls itself successful."""
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    simulator.change_settings("test", partial_state="SUCCESSFUL")
    paths = ["Sales/mt_orders", "Sales/tf_sales_daily"]
    simulator.add_fault("test", {"kind": "fail_objects", "paths": paths, "message": "No.", "times": 1})
    with pytest.raises(errors.IdmcVerificationError) as caught:
        verify_import(target, plan, imported(target, package, plan))
    head, *lines = str(caught.value).splitlines()
    assert "2 of 11 objects differ" in head
    assert {line.split(":")[0].split()[1] for line in lines} == set(paths)


def test_somebody_removes_it_at_once(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    job = imported(target, package, plan)
    simulator.remove_asset("test", "Sales/tf_sales_daily", "TASKFLOW")
    with pytest.raises(
        errors.IdmcVerificationError, match="TASKFLOW Sales/tf_sales_daily: planned to create, but it is"
    ):
        verify_import(target, plan, job)


# publishing -------------------------------------------------------------------------------------------------------

SERVICE = [
    {"path": "Service/tf_open_tickets", "type": "TASKFLOW"},
    {"path": "Service/g_open_ticket", "type": "GUIDE"},
    {"path": "Service/p_open_ticket", "type": "PROCESS"},
    {"path": "Service/ac_tickets", "type": "AI_CONNECTION"},
    {"path": "Service/sc_tickets", "type": "AI_SERVICE_CONNECTOR"},
]


def import_service(dev: Session, target: Session, folder: Path) -> dict[str, Any]:
    package = tagged(dev, folder, "service-1")
    plan = plan_import(target, package, Wishes(**TO_TEST), source=dev)
    plan.check()
    assert imported(target, package, plan.to_json()).outcome is JobState.SUCCESSFUL
    return plan.to_json()


def test_publish_what_was_imported(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    plan = import_service(dev, target, tmp_path)
    arrived = [row["target"] for row in plan["objects"] if row["action"] in ("create", "overwrite")]
    rows = [row for row in arrived if is_publishable(row["type"])]
    assert {row["path"] for row in rows} == {row["path"] for row in SERVICE}
    keys = {f"{row['path']}:{row['type']}" for row in rows}
    # An import leaves what is new unpublished.
    assert not states(simulator, "test")["Service/g_open_ticket:GUIDE"]["published"]
    assert published(target, rows) == {row["path"]: "SUCCESS" for row in rows}
    assert all(states(simulator, "test")[key]["published"] for key in keys)
    # Again, it changes nothing.
    before = simulator.state("test")
    assert set(published(target, rows).values()) == {"SUCCESS"}
    assert simulator.state("test") == before


def test_publish_before_the_import(connect: Connect) -> None:
    """What the org does not have is told asset by asset."""
    target = connect("test")
    words = published(target, SERVICE)
    assert words["Service/sc_tickets"] == words["Service/ac_tickets"] == words["Service/p_open_ticket"] == "SUCCESS"
    assert words["Service/g_open_ticket"] == words["Service/tf_open_tickets"] == "NOT_FOUND"


@pytest.mark.parametrize("state", ["WARNING", "ERROR", "FAILED"])
def test_one_asset_fails(simulator: Simulator, connect: Connect, tmp_path: Path, state: str) -> None:
    dev, target = connect("dev"), connect("test")
    import_service(dev, target, tmp_path)
    simulator.change_settings("test", publish_partial_state=state)
    simulator.add_fault("test", {"kind": "fail_publish", "paths": ["Service/g_open_ticket"], "message": "Bad guide."})
    (kind, paths), _ = batches(SERVICE)
    job = start_publish(target, kind, paths)
    wait(target, kind, job.id, deadline=time.time() + 20, poll_interval=5, sleep=quick)
    job = get_publish(target, kind, job.id, expand_objects=True)
    assert (job.word, job.outcome) == (state, JobState.FAILED)
    (failed,) = job.failed
    assert (failed.path, failed.type, failed.message) == ("Service/g_open_ticket", "GUIDE", "Bad guide.")


def test_a_publish_whose_answer_is_lost(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    import_service(dev, target, tmp_path)
    for kind in ("drop_after", "maintenance", "expire_session", "drop_before"):
        simulator.add_fault("test", {"kind": kind, "times": 1, "path": "/publish"})
    assert set(published(target, SERVICE).values()) == {"SUCCESS"}
    assert all(fault["struck"] for fault in simulator.faults("test"))


def test_the_order_is_ours(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """The other way round, the org refuses all but the first."""
    dev, target = connect("dev"), connect("test")
    import_service(dev, target, tmp_path)
    for row in SERVICE:
        simulator.edit_asset("test", row["path"], row["type"], published=False)
    (kind, paths), _ = batches(SERVICE)
    job = start_publish(target, kind, paths[::-1])
    wait(target, kind, job.id, deadline=time.time() + 20, poll_interval=5, sleep=quick)
    failed = get_publish(target, kind, job.id, expand_objects=True).failed
    assert [o.type for o in failed] == ["GUIDE", "PROCESS", "AI_CONNECTION"]
    assert set(published(target, SERVICE).values()) == {"SUCCESS"}


# schedules --------------------------------------------------------------------------------------------------------


def test_schedules_are_linked_again(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    assert set(plan["unscheduled"]) == {"Sales/mt_orders", "Sales/Staging/mt load customers"}
    imported(target, package, plan)
    assert {states(simulator, "test")[f"{path}:MTT"]["schedule"] for path in plan["unscheduled"]} <= {None, "nightly"}
    hourly = find_schedule(target, "hourly")
    for asset in lookup(target, [{"path": path, "type": "MTT"} for path in plan["unscheduled"]]):
        assert asset is not None
        assert link_schedule(target, asset.id, hourly) is True
        assert link_schedule(target, asset.id, hourly) is False
        assert schedule_of(target, asset.id) == hourly
    assert {states(simulator, "test")[f"{path}:MTT"]["schedule"] for path in plan["unscheduled"]} == {"hourly"}


def test_schedules_in_the_plan(connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    wishes = Wishes(**TO_TEST, schedules={"Sales/mt_orders": "hourly"})
    plan = plan_import(target, package, wishes).to_json()
    assert (plan["schedules"], plan["unscheduled"]) == (
        {"Sales/mt_orders": "hourly"},
        ["Sales/Staging/mt load customers"],
    )
    with pytest.raises(errors.IdmcNotFoundError, match="Org ACME_TEST has no schedule 'weekly'"):
        plan_import(target, package, Wishes(**TO_TEST, schedules={"Sales/mt_orders": "weekly"}))


@pytest.mark.parametrize("name", ["nigthly", "Nightly", "", "a/b", "../nightly", "ü & 'x'"])
def test_a_schedule_that_is_not_there(connect: Connect, name: str) -> None:
    with pytest.raises(errors.IdmcNotFoundError, match="Org ACME_TEST has no schedule"):
        find_schedule(connect("test"), name)


# backup and restore -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tag", "new"), [("release-1", 4), ("service-1", 2)])
def test_backup_and_restore(simulator: Simulator, connect: Connect, tmp_path: Path, tag: str, new: int) -> None:
    """Afterwards the org is what it was, apart from the new objects, which are named."""
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, tag)
    before = states(simulator, "test")
    plan = plan_import(target, package, Wishes(**TO_TEST), source=dev).to_json()
    ids = [row["target"]["id"] for row in plan["objects"] if row["overwrites"]]
    saved = exported(target, ids, tmp_path / "backup.zip", include_dependencies=False)
    backup = json.loads(json.dumps(describe(target, plan, saved)))
    assert states(simulator, "test") == before

    job = imported(target, package, plan)
    published(target, [row["target"] for row in plan["objects"] if is_publishable(row["target"]["type"])])
    assert states(simulator, "test") != before

    assert changed_since(target, backup, job, None, "deployer") == []
    restore_id = upload_package(target, saved.path)
    specification: dict[str, Any] = {"defaultConflictResolution": "OVERWRITE"}
    flags = [{"key": "mapping_conflict_existing", "value": "REPLACE"}]
    if tasks := [{"sourceObjectId": o.id, "additionalProviderFlags": flags} for o in saved.objects if o.type == "MTT"]:
        specification["objectSpecification"] = tasks
    start_import(target, restore_id, import_specification=specification, sleep=quick)
    assert finished(target, JobKind.IMPORT, restore_id).outcome is JobState.SUCCESSFUL
    for row in backup["objects"]:
        if row["schedule"]:
            link_schedule(target, row["id"], find_schedule(target, row["schedule"]))
    published(target, [row for row in backup["objects"] if row["published"]])

    left = existing(target, created(plan))
    assert len(left) == new
    after = states(simulator, "test")
    assert {key for key in after if key not in before} == {f"{row['path']}:{row['type']}" for row in left}
    assert {key: after[key] for key in before} == before


def test_work_after_the_import_is_not_undone_in_silence(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    ids = [row["target"]["id"] for row in plan["objects"] if row["overwrites"]]
    backup = describe(target, plan, exported(target, ids, tmp_path / "b.zip", include_dependencies=False))
    job = imported(target, package, plan)
    simulator.edit_asset("test", "Sales/m_orders", "DTEMPLATE", updated_by="carla", update_time="2031-01-01T00:00:00Z")
    assert changed_since(target, backup, job, None, "deployer") == [
        "DTEMPLATE Sales/m_orders: carla changed it at 2031-01-01T00:00:00Z."
    ]


def test_a_later_promotion_is_not_undone_in_silence(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """By the same user; what the steps after the import do to linked tasks and to taskflows is none."""
    dev, target = connect("dev"), connect("test")
    package = tagged(dev, tmp_path, "release-1")
    plan = plan_import(target, package, Wishes(**TO_TEST)).to_json()
    rows = [row["target"] for row in plan["objects"] if row["overwrites"]]
    saved = exported(target, [row["id"] for row in rows], tmp_path / "b.zip", include_dependencies=False)
    backup = describe(target, plan, saved)
    job = imported(target, package, plan)
    later = {"updated_by": "deployer", "update_time": "2031-01-01T00:00:00Z"}
    assert {"MTT", "DTEMPLATE"} <= {row["type"] for row in rows}
    for row in rows:
        simulator.edit_asset("test", row["path"], row["type"], **later)
    tasks = {row["path"] for row in rows if row["type"] == "MTT"}

    def told(linked: set[str]) -> list[str]:
        objects = [{**row, "schedule": None} for row in backup["objects"]]
        saved = {**backup, "objects": objects, "schedules": dict.fromkeys(linked, "nightly")}
        return [text.partition(" ")[0] for text in changed_since(target, saved, job, None, "deployer")]

    assert told(set()) == [row["type"] for row in rows if not is_publishable(row["type"])]
    assert told(tasks) == [row["type"] for row in rows if row["type"] != "MTT" and not is_publishable(row["type"])]
    # If the backup was brought back since, it is gone already.
    assert changed_since(target, backup, job, "2031-01-01T00:00:01.000Z", "deployer") == []
    # Of a stranger, all of that is work.
    for row in rows:
        simulator.edit_asset("test", row["path"], row["type"], **{**later, "updated_by": "carla"})
    assert len(told(tasks)) == len(rows)


# the manifest -----------------------------------------------------------------------------------------------------


def test_a_manifest_finds_its_objects(connect: Connect) -> None:
    release = parse_release(
        "version: 1\nobjects:\n  - {path: Sales/tf_sales_daily, type: TASKFLOW}\n"
        "include: [Sales/*, Finance/Absch*]\nexclude: ['*pilot*', Sales/dss_*]\ntypes: [MTT, DSS]\n",
        "release.yaml",
    )
    assert {asset.path for asset in find_objects(connect("dev"), release)} == {
        "Sales/tf_sales_daily",
        "Sales/mt_orders",
        "Sales/Staging/mt load customers",
        "Finance/Abschlüsse/mt_jahresabschluß",
    }


def test_a_manifest_with_a_slip(connect: Connect) -> None:
    release = parse_release("version: 1\ninclude: [Sales/mt_ordres]\n", "release.yaml")
    with pytest.raises(errors.IdmcInputError, match=r"release\.yaml: include has 'Sales/mt_ordres', but org ACME_DEV"):
        find_objects(connect("dev"), release)
