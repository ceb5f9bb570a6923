"""Saving what an import will overwrite, and bringing it back."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, ObjectStoragePath

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcJobFailedError,
    IdmcNotFoundError,
    IdmcPackageError,
    IdmcPlanOutdatedError,
    IdmcStorageError,
    IdmcTimeoutError,
    IdmcUnavailableError,
    IdmcWrongOrgError,
)
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.imports import InfaStartImportOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.schedules import InfaLinkScheduleOperator

MAPPING, TASK = ("Sales/m_orders", "DTEMPLATE"), ("Sales/mt_orders", "MTT")
CREATED = {"Sales/Staging", "Sales/Staging/m load customers", "Sales/Staging/mt load customers", "Sales/tf_sales_daily"}


def save(plan, uri, **arguments):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaBackupOperator(task_id="backup", plan=plan, backup_uri=uri, **arguments)


def restore(uri, **arguments):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaRestoreOperator(task_id="restore", backup_uri=uri, **arguments)


@pytest.fixture
def org(promotion):
    """The target org, with more to lose than it has by default; as it is before the import."""
    times = {"updated_by": "deployer", "update_time": "2026-01-20T06:00:13Z"}
    promotion.sim.edit_asset("test", *MAPPING, tags=["of-test"], description="as it was", **times)
    promotion.sim.edit_asset("test", *TASK, tags=["of-test", "x"], persisted={"$$last_run": "in test"}, **times)
    return promotion.sim.state("test")


@pytest.fixture
def plan(org, promotion, package):
    return promotion.plan(package)


@pytest.fixture
def store(tmp_path):
    return f"file://{tmp_path}/backups"


@pytest.fixture
def backup(promotion, run, plan, store):
    return run(save(plan, store))


@pytest.fixture
def keeping(org, promotion, package):
    """A plan that overwrites nothing, so that it has no backup."""
    return promotion.plan(package, default_conflict_resolution="REUSE")


@pytest.fixture
def full(monkeypatch):
    """Let the object store have no room from then on."""

    def put_file(*_, **__):
        raise OSError(28, "The bucket is full")

    return lambda: monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.put_file", put_file)


def description(uri):
    return json.loads(ObjectStoragePath(f"{uri}/backup.json").read_text())


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "backups").rglob("*") if path.is_file())


def contents(tmp_path):
    """What is stored, byte for byte."""
    return {path: path.read_bytes() for path in (tmp_path / "backups").rglob("*") if path.is_file()}


def exports(promotion, org="test"):
    return [job for job in promotion.sim.jobs(org) if job["kind"] == "export"]


def imports(promotion, org="test"):
    return [job for job in promotion.sim.jobs(org) if job["kind"] == "import"]


def restored(uri):
    """What is noted beside the backup about its last restore."""
    return json.loads(ObjectStoragePath(f"{uri}/restored.json").read_text())


def end_time(job_id):
    """The end of an import as IDMC tells it."""
    with InfaHook("infa_test") as hook:
        return hook.get_import(job_id).end_time


def long_ago(promotion, job_id):
    """Let an import, and what it changed, be an hour older, so that what follows is later by more than any rounding."""
    (job,) = [job for job in promotion.sim._orgs["test"].jobs if job.id == job_id]
    started = job.started.strftime("%Y-%m-%dT%H:%M:%SZ")
    job.started, job.ended = job.started - timedelta(hours=1), job.ended - timedelta(hours=1)
    for asset in promotion.sim.assets("test"):
        if asset["update_time"] >= started:
            moment = job.ended.strftime("%Y-%m-%dT%H:%M:%SZ")
            promotion.sim.edit_asset("test", asset["path"], asset["type"], update_time=moment)


def without(state, paths):
    return [row for row in state if row["path"] not in paths]


# --- backup -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_backup_holds_what_will_be_overwritten_and_nothing_else(
    promotion, run, org, plan, store, tmp_path, deferrable
):
    promotion.end_jobs_after_two_looks()
    uri = run(save(plan, store, deferrable=deferrable))
    assert len(run.deferrals) == deferrable
    assert uri == f"{store}/promote/manual__2026-03-02T09-15-00-00-00/{plan['hash'][:12]}"
    assert files(tmp_path) == ["backup.json", "package.zip"]
    package = read_package(tmp_path / uri.removeprefix(f"file://{tmp_path}/") / "package.zip")
    assert {(o.path, o.type) for o in package.objects if o.type not in ("Project", "Folder")} == {MAPPING, TASK}
    (job,) = exports(promotion)
    assert job["name"].endswith(f"-backup-plan-{plan['hash'][:12]}")
    told = description(uri)
    assert (told["version"], told["org"], told["plan_hash"]) == (1, plan["target_org"], plan["hash"])
    assert told["package"] == {"sha256": package.sha256, "size": package.size}
    ids = {path: promotion.asset(path, type)["id"] for path, type in (MAPPING, TASK)}
    rows = {row["path"]: row for row in told["objects"]}
    assert {path: row["id"] for path, row in rows.items()} == ids
    assert {path: (row["schedule"], row["published"]) for path, row in rows.items()} == {
        MAPPING[0]: (None, False), TASK[0]: ("nightly", False)
    }  # fmt: skip
    assert {row["path"] for row in told["created"]} == CREATED
    assert promotion.sim.state("test") == org
    assert promotion.open_sessions() == 0


def test_a_backup_tells_what_is_published(promotion, run, store, tmp_path):
    promotion.sim.edit_asset("test", "Service/p_open_ticket", "PROCESS", published=False, updated_by="deployer")
    plan = promotion.plan(promotion.package(tmp_path / "service.zip", "service-1"))
    told = description(run(save(plan, store)))
    assert {row["path"]: row["published"] for row in told["objects"]} == {
        "Service/sc_tickets": True, "Service/ac_tickets": True, "Service/p_open_ticket": False
    }  # fmt: skip


def test_any_storage_will_do(promotion, run, plan, object_store):
    uri = run(save(plan, f"{object_store}/backups/"))
    assert uri.startswith(f"{object_store}/backups/promote/")
    assert description(uri)["plan_hash"] == plan["hash"]


def test_nothing_to_overwrite_means_no_backup(promotion, run, package, store, tmp_path, logged):
    names = {"runtime_environments": {"DEV_AGENTS": "PROD_AGENTS"}, "connections": {"ora_dev": "ora_prod"}}
    with InfaHook("infa_prod") as hook:
        from airflow_provider_infa.idmc.plan import plan_import
        from airflow_provider_infa.idmc.wishes import Wishes

        plan = plan_import(hook.get_conn(), read_package(package), Wishes(**names)).to_json()
    assert run(save(plan, store, infa_conn_id="infa_prod")) is None
    assert promotion.sim.jobs("prod") == []
    assert not (tmp_path / "backups").exists()
    assert "will overwrite nothing in org ACME_PROD, so there is no backup" in logged()


@pytest.mark.parametrize("changed", ["by nobody", "by the import", "by others"])
def test_a_backup_that_is_stored_stays_as_it_is(
    promotion, run, package, plan, backup, store, tmp_path, logged, changed
):
    before = contents(tmp_path)
    # After the import a new one would hold what that has left behind.
    if changed == "by the import":
        promotion.carry_out(package, plan)
    if changed == "by others":
        promotion.sim.edit_asset("test", *MAPPING, updated_by="carla", definition={"revision": "9"})
    assert run(save(plan, store)) == backup
    assert contents(tmp_path) == before
    assert len(exports(promotion)) == 1
    assert f"The backup is stored already: {backup}" in logged()


def test_a_stored_backup_that_is_damaged_is_not_taken_for_one(promotion, run, plan, backup, store, tmp_path):
    (file,) = (tmp_path / "backups").rglob("backup.json")
    file.write_text("{")
    with pytest.raises(AirflowFailException, match="holds no backup"):
        run(save(plan, store))
    assert len(exports(promotion)) == 1


def change(promotion):
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla", update_time="2026-03-01T10:00:00Z")


def replace(promotion):
    promotion.carry_out(promotion.file)


OUTDATED = {
    "changed": (change, "DTEMPLATE Sales/m_orders: carla changed it at 2026-03-01T10:00:00Z"),
    "imported meanwhile": (replace, "TASKFLOW Sales/tf_sales_daily: it was missing, and is there now"),
}


@pytest.mark.parametrize("how", OUTDATED)
def test_what_is_not_as_planned_is_not_saved(promotion, run, package, plan, store, tmp_path, how):
    happen, words = OUTDATED[how]
    promotion.file = package
    happen(promotion)
    with pytest.raises(AirflowFailException, match=words) as error:
        run(save(plan, store))
    assert isinstance(error.value.__cause__, IdmcPlanOutdatedError)
    assert exports(promotion) == []
    assert not (tmp_path / "backups").exists()


def test_another_plan_makes_another_backup(promotion, run, package, plan, backup, store, tmp_path):
    before = contents(tmp_path)
    other = promotion.plan(package, include_objects=["Sales/m_orders"])
    uri = run(save(other, store))
    assert uri != backup
    assert description(uri)["plan_hash"] == other["hash"]
    assert contents(tmp_path).items() > before.items()
    assert len(exports(promotion)) == 2


def test_a_place_that_cannot_be_written(promotion, run, plan, store, tmp_path):
    (tmp_path / "backups").write_text("a file where a folder should be")
    with pytest.raises(IdmcStorageError, match=rf"'{store}/promote/.*/package\.zip' can't be written") as error:
        run(save(plan, store))
    # A retry may find it mended.
    assert not isinstance(error.value, AirflowFailException)
    assert (tmp_path / "backups").read_text() == "a file where a folder should be"
    (tmp_path / "backups").unlink()
    assert files(tmp_path) == []
    assert description(run(save(plan, store)))["plan_hash"] == plan["hash"]


def test_an_object_store_that_cannot_be_written(promotion, run, plan, object_store, full):
    full()
    with pytest.raises(IdmcStorageError, match=f"'{object_store}/promote/.*/package.zip' can't be written: .*full"):
        run(save(plan, object_store))


@pytest.mark.parametrize(("fault", "error"), [
    ({"kind": "fail_job", "method": "POST", "path": "/export$"}, IdmcJobFailedError),
    ({"kind": "maintenance", "path": "/package$"}, IdmcUnavailableError),
    ({"kind": "maintenance", "path": "/mttask/"}, IdmcUnavailableError),
])  # fmt: skip
def test_a_backup_that_fails_leaves_nothing_and_can_be_retried(promotion, run, plan, store, tmp_path, fault, error):
    promotion.sim.add_fault("test", fault)
    with pytest.raises(error) as raised:
        run(save(plan, store))
    assert not isinstance(raised.value, AirflowFailException)
    assert "backup.json" not in files(tmp_path)
    promotion.sim.clear_faults()
    run(save(plan, store))
    assert files(tmp_path) == ["backup.json", "package.zip"]


def test_a_schedule_that_may_not_be_read_is_left_out_loudly(promotion, run, plan, store, logged):
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": "/mttask/"})
    rows = description(run(save(plan, store)))["objects"]
    assert [row["schedule"] for row in rows] == [None, None]
    assert "schedule of Sales/mt_orders can't be read, so it counts as none" in logged()


def test_something_is_gone_that_was_to_be_saved(promotion, run, plan, store, tmp_path):
    promotion.sim.remove_asset("test", *TASK)
    with pytest.raises(AirflowFailException, match=r"MTT Sales/mt_orders: .* no longer there") as error:
        run(save(plan, store))
    assert isinstance(error.value.__cause__, IdmcPlanOutdatedError)
    assert exports(promotion) == []
    assert files(tmp_path) == []


WRONG = {
    "another org": ({"infa_conn_id": "infa_prod"}, IdmcWrongOrgError, "for org ACME_TEST .* leads to org ACME_PROD"),
    "no place": ({"uri": "None"}, IdmcInputError, "backup_uri is empty"),
    "an edited plan": ({"edit": True}, IdmcInputError, "changed after it was made"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_cannot_be_saved(promotion, run, plan, store, how):
    arguments, error, words = WRONG[how]
    arguments = dict(arguments)
    if arguments.pop("edit", False):
        plan = {**plan, "objects": []}
    with pytest.raises(AirflowFailException, match=words) as raised:
        run(save(plan, arguments.pop("uri", store), **arguments))
    assert isinstance(raised.value.__cause__, error)
    assert exports(promotion) == exports(promotion, "prod") == []


# --- restore ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job_id(promotion, package, plan, backup):
    """The import that is to be undone, successful."""
    return promotion.carry_out(package, plan)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("how", ["by hand", "rollback"])
def test_a_restore_brings_everything_back(promotion, run, org, plan, backup, job_id, how, deferrable, logged):
    assert promotion.asset(*TASK)["definition"] == {"revision": "2"}
    assert promotion.asset(*TASK)["schedule"] is None
    promotion.end_jobs_after_two_looks()
    arguments = {} if how == "by hand" else {"import_job_id": job_id, "plan": plan, "rollback": True}
    report = run(restore(backup, deferrable=deferrable, **arguments))
    assert len(run.deferrals) == deferrable
    assert without(promotion.sim.state("test"), CREATED) == org
    assert {row["path"] for row in report["created"]} == CREATED
    assert all(promotion.asset(row["path"], row["type"])["id"] == row["id"] for row in report["created"])
    assert report["backup_uri"] == backup
    assert report["import_job_id"] == imports(promotion)[-1]["id"] != job_id
    assert report["undone"] == arguments.get("import_job_id")
    assert restored(backup) == {
        "undone": arguments.get("import_job_id"),
        "import_job_id": report["import_job_id"],
        "end_time": end_time(report["import_job_id"]),
        "complete": True,
        "report": report,
    }
    assert {row["path"] for row in report["restored"]} == {MAPPING[0], TASK[0]}
    # What is linked again is not lost.
    assert report["linked"] == [{"path": TASK[0], "schedule": "nightly", "linked": True}]
    assert report["unscheduled"] == []
    assert report["published"] == []
    assert "Created by the import, and not removed: TASKFLOW Sales/tf_sales_daily" in logged()
    assert promotion.open_sessions() == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_import_that_failed_half_way_is_rolled_back(promotion, run, org, package, plan, backup, deferrable):
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders", "Sales/tf_sales_daily"]})
    job_id = promotion.carry_out(package, plan)
    assert promotion.job(job_id)["state"] == "FAILED"
    assert promotion.asset(*MAPPING)["definition"] == {"revision": "4"}
    promotion.sim.clear_faults()
    report = run(restore(backup, import_job_id=job_id, plan=plan, rollback=True, deferrable=deferrable))
    left = {row["path"] for row in report["created"]}
    assert left == CREATED - {"Sales/tf_sales_daily"}
    assert without(promotion.sim.state("test"), left) == org


def test_what_is_removed_by_hand_is_not_reported(promotion, run, org, backup, job_id):
    for path, type in (
        ("Sales/tf_sales_daily", "TASKFLOW"),
        ("Sales/Staging/mt load customers", "MTT"),
        ("Sales/Staging/m load customers", "DTEMPLATE"),
        ("Sales/Staging", "Folder"),
    ):
        promotion.sim.remove_asset("test", path, type)
    assert run(restore(backup))["created"] == []
    assert promotion.sim.state("test") == org


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("how", ["by hand", "rollback", "no backup"])
def test_what_goes_on_after_a_rollback_is_named(
    promotion, run, package, keeping, plan, backup, how, deferrable, logged
):
    plan = keeping if how == "no backup" else plan
    job_id = promotion.carry_out(package, plan)
    task, taskflow = ("Sales/Staging/mt load customers", "MTT"), ("Sales/tf_sales_daily", "TASKFLOW")
    # The steps after the import had got that far when something failed.
    run(lambda: InfaPublishOperator(task_id="p", infa_conn_id="infa_test", plan=plan, deferrable=False))
    run(lambda: InfaLinkScheduleOperator(task_id="l", infa_conn_id="infa_test", schedules={task[0]: "hourly"}))
    arguments = {} if how == "by hand" else {"import_job_id": job_id, "plan": plan, "rollback": True}
    report = run(restore(None if how == "no backup" else backup, deferrable=deferrable, **arguments))
    told = {(row["path"], row["type"]): (row["schedule"], row["published"]) for row in report["created"]}
    assert {path for path, _ in told} == CREATED
    assert {object: state for object, state in told.items() if any(state)} == {
        task: ("hourly", False), taskflow: (None, True)
    }  # fmt: skip
    assert (promotion.asset(*task)["schedule"], promotion.asset(*taskflow)["published"]) == ("hourly", True)
    lines = logged().splitlines()
    for words in (f"MTT {task[0]}, still run by schedule hourly", f"TASKFLOW {taskflow[0]}, still published"):
        assert any(f"Created by the import, and not removed: {words}" in line for line in lines)
    assert not any("still" in line for line in lines if "m load customers" in line)


def test_a_schedule_that_no_backup_holds_is_named(promotion, run, store, tmp_path, logged):
    path, type = dss = ("Sales/dss_accounts", "DSS")
    with InfaHook("infa_dev") as hook:
        ids = [promotion.asset(*dss, "dev")["id"]]
        package = hook.download_export_package(promotion.export(ids), tmp_path / "dss.zip").path
    promotion.carry_out(package)
    promotion.sim.edit_asset("test", *dss, schedule="nightly", updated_by="deployer")
    plan = promotion.plan(package)
    uri = run(save(plan, store))
    job_id = promotion.carry_out(package, plan)
    report = run(restore(uri, import_job_id=job_id, plan=plan, rollback=True))
    assert promotion.asset(*dss)["schedule"] is None
    assert report["unscheduled"] == [{"path": path, "type": type}]
    assert f"DSS {path} may have lost its schedule: link it in the org." in logged()


def test_a_retried_restore_does_no_harm(promotion, run, org, plan, backup, job_id):
    long_ago(promotion, job_id)
    first = run(restore(backup, import_job_id=job_id, plan=plan))
    # What it has changed itself is no reason not to do it once more.
    second = run(restore(backup, import_job_id=job_id, plan=plan))
    assert without(promotion.sim.state("test"), CREATED) == org
    assert len(imports(promotion)) == 3
    assert second["import_job_id"] != first["import_job_id"]
    assert {**second, "import_job_id": None, "linked": None} == {**first, "import_job_id": None, "linked": None}


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_was_published_is_published_again(promotion, run, store, tmp_path, deferrable):
    before = promotion.sim.state("test")
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package)
    uri = run(save(plan, store))
    job_id = promotion.carry_out(package, plan)
    assert not promotion.asset("Service/p_open_ticket", "PROCESS")["published"]
    promotion.end_jobs_after_two_looks()
    report = run(restore(uri, import_job_id=job_id, plan=plan, rollback=True, deferrable=deferrable))
    # One for the import, one for what is published.
    assert len(run.deferrals) == 2 * deferrable
    paths = ["Service/sc_tickets", "Service/ac_tickets", "Service/p_open_ticket"]
    assert sorted(row["path"] for row in report["published"]) == sorted(paths)
    left = {row["path"] for row in report["created"]}
    assert left >= {"Service/g_open_ticket", "Service/tf_open_tickets"}
    assert without(promotion.sim.state("test"), left) == before
    assert promotion.open_sessions() == 0


def test_what_cannot_be_published_again_fails_the_restore(promotion, run, store, tmp_path):
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package)
    uri = run(save(plan, store))
    promotion.carry_out(package, plan)
    promotion.sim.add_fault("test", {"kind": "fail_publish", "paths": ["Service/ac_tickets"], "message": "No."})
    with pytest.raises(IdmcJobFailedError, match=r"AI_CONNECTION Service/ac_tickets: .*No\."):
        run(restore(uri))
    promotion.sim.clear_faults()
    assert len(run(restore(uri))["published"]) == 3


def test_a_rollback_happens_once(promotion, run, org, plan, backup, job_id):
    arguments = {"import_job_id": job_id, "plan": plan, "rollback": True}
    report = run(restore(backup, **arguments))
    noted = restored(backup)
    # What is known of it is not lost to the record when the task runs again.
    assert run(restore(backup, **arguments)) == report
    assert restored(backup) == noted
    assert without(promotion.sim.state("test"), CREATED) == org
    assert len(imports(promotion)) == 2


@pytest.fixture
def mixed(promotion, run, store, tmp_path):
    """What was done to an org with mapping tasks and published assets: its state before, backup, and the import."""
    ids = promotion.ids("release-1") + promotion.ids("service-1")
    with InfaHook("infa_dev") as hook:
        package = hook.download_export_package(promotion.export(ids), tmp_path / "mixed.zip").path
    before, plan = promotion.sim.state("test"), promotion.plan(package)
    uri = run(save(plan, store))
    job_id = promotion.carry_out(package, plan)
    long_ago(promotion, job_id)
    return before, uri, {"import_job_id": job_id, "plan": plan, "rollback": True}


def test_a_deferred_restore_is_carried_by_its_triggers(promotion, run, mixed):
    before, uri, arguments = mixed
    promotion.end_jobs_after_two_looks()
    report = run(restore(uri, **arguments, deferrable=True, timeout=500))
    first, second = run.events
    assert "carry" not in first
    assert first["job_id"] == report["import_job_id"] == imports(promotion)[-1]["id"]
    assert run.deferrals[1].trigger.serialize()[1]["carry"] == second["carry"]
    linked = [{"path": TASK[0], "schedule": "nightly", "linked": True}]
    assert second["carry"] == {
        "jobs": [[second["carry"]["jobs"][0][0], second["job_id"]]],
        "deadline": run.deferrals[1].trigger.deadline,
        "restore_job_id": report["import_job_id"],
        "linked": linked,
    }
    assert report["linked"] == linked
    assert len(report["published"]) == len(promotion.calls("test", "POST", "/publish$")) + 2 == 3
    assert restored(uri)["complete"] is True
    left = {row["path"] for row in report["created"]}
    assert without(promotion.sim.state("test"), left) == before


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_rollback_whose_publication_failed_is_retried(promotion, run, mixed, deferrable):
    before, uri, arguments = mixed
    promotion.sim.add_fault("test", {"kind": "fail_publish", "paths": ["Service/ac_tickets"], "message": "No."})
    with pytest.raises(IdmcJobFailedError, match=r"AI_CONNECTION Service/ac_tickets: .*No\.") as error:
        run(restore(uri, **arguments, deferrable=deferrable))
    assert not isinstance(error.value, AirflowFailException)
    first = imports(promotion)[-1]["id"]
    noted = {"undone": arguments["import_job_id"], "import_job_id": first, "end_time": None, "complete": False}
    assert restored(uri) == {**noted, "report": None}
    promotion.sim.clear_faults()
    report = run(restore(uri, **arguments, deferrable=deferrable))
    assert restored(uri)["import_job_id"] == report["import_job_id"] != first
    assert restored(uri)["complete"] is True
    left = {row["path"] for row in report["created"]}
    assert without(promotion.sim.state("test"), left) == before


@pytest.mark.parametrize("how", ["while it runs", "after its end"])
def test_a_rollback_that_timed_out_is_retried(promotion, run, org, plan, backup, job_id, logged, how):
    long_ago(promotion, job_id)
    promotion.sim.change_settings("test", job_seconds=1)
    arguments = {"import_job_id": job_id, "plan": plan, "rollback": True}
    with pytest.raises(IdmcTimeoutError):
        run(restore(backup, **arguments, timeout=0.2))
    # That job goes on, and its changes are the restore's own.
    timed_out = imports(promotion)[-1]["id"]
    if how == "after its end":
        while promotion.job(timed_out)["state"] == "IN_PROGRESS":
            time.sleep(0.05)
    run(restore(backup, **arguments))
    assert (f"Import job {timed_out} is still IN_PROGRESS" in logged()) == (how == "while it runs")
    assert without(promotion.sim.state("test"), CREATED) == org
    assert len(imports(promotion)) == 3
    assert restored(backup)["complete"] is True


def test_a_restore_that_cannot_be_noted_imports_nothing(promotion, run, package, plan, object_store, full):
    uri = run(save(plan, object_store))
    job_id = promotion.carry_out(package, plan)
    before = promotion.sim.state("test")
    full()
    with pytest.raises(IdmcStorageError, match=f"'{uri}/restored.json' can't be written: .*full") as error:
        run(restore(uri, import_job_id=job_id, plan=plan, rollback=True))
    assert not isinstance(error.value, AirflowFailException)
    assert promotion.sim.state("test") == before
    assert [job["state"] for job in imports(promotion)] == ["SUCCESSFUL", "NOT_STARTED"]


# --- when there is nothing to roll back -------------------------------------------------------------------------------


@pytest.mark.parametrize("objects", [[{"path": "x"}], []])
@pytest.mark.parametrize("write", [dict, json.dumps, str], ids=["mapping", "json", "python"])
def test_a_promotion_that_went_well_is_not_rolled_back(promotion, run, plan, backup, job_id, objects, write):
    before = promotion.sim.state("test")
    verified = write({"import_job_id": job_id, "objects": objects})
    with pytest.raises(AirflowSkipException, match="went well"):
        run(restore(backup, import_job_id=job_id, plan=plan, rollback=True, verified=verified))
    assert promotion.sim.state("test") == before
    assert len(imports(promotion)) == 1


def test_an_old_verdict_does_not_prevent_a_rollback(promotion, run, org, package, plan, backup, job_id):
    # The tasks of a run were cleared: Airflow still has what verifying returned the first time.
    verified = {"import_job_id": job_id, "objects": [{"path": "x"}]}
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"]})
    again = promotion.carry_out(package, plan)
    promotion.sim.clear_faults()
    report = run(restore(backup, import_job_id=again, plan=plan, rollback=True, verified=verified))
    assert report["undone"] == again
    assert without(promotion.sim.state("test"), CREATED) == org


@pytest.mark.parametrize("nothing", [None, "None", ""])
def test_what_was_never_uploaded_is_not_rolled_back(promotion, run, plan, backup, nothing):
    with pytest.raises(AirflowSkipException, match="Nothing was imported"):
        run(restore(backup, import_job_id=nothing, plan=plan, rollback="True", verified=nothing))
    assert imports(promotion) == []


def test_what_was_never_started_is_not_rolled_back(promotion, run, package, plan, backup):
    job_id = promotion.upload(package)
    with pytest.raises(AirflowSkipException, match=f"{job_id} was never started"):
        run(restore(backup, import_job_id=job_id, plan=plan, rollback=True))
    # By hand it is a slip.
    with pytest.raises(AirflowFailException, match=f"does not know that import job {job_id} was ever started") as error:
        run(restore(backup, import_job_id=job_id, timeout=1))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert [job["state"] for job in imports(promotion)] == ["NOT_STARTED"]


def test_without_a_backup_what_was_created_is_reported(promotion, run, package, keeping):
    plan = keeping
    job_id = promotion.carry_out(package, plan)
    before = promotion.sim.state("test")
    report = run(restore(None, import_job_id=job_id, plan=plan, rollback=True))
    assert {row["path"] for row in report["created"]} == CREATED
    assert {**report, "created": None} == {
        "backup_uri": None, "undone": job_id, "plan_hash": plan["hash"], "import_job_id": None,
        "restored": [], "unscheduled": [], "created": None, "linked": [], "published": [],
    }  # fmt: skip
    assert promotion.sim.state("test") == before
    assert len(imports(promotion)) == 1


@pytest.mark.parametrize("nothing", [None, "None", ""])
def test_a_backup_that_was_not_made_is_no_rollback(promotion, run, package, plan, nothing):
    """The task that makes it was marked as successful by hand, say."""
    job_id = promotion.carry_out(package, plan)
    with pytest.raises(AirflowFailException, match=r"no backup of what the plan overwrites \(2 objects") as error:
        run(restore(nothing, import_job_id=job_id, plan=plan, rollback=True))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert len(imports(promotion)) == 1


@pytest.mark.parametrize("arguments", [{}, {"plan": ""}])
def test_a_restore_by_hand_of_nothing_in_particular(promotion, run, arguments):
    with pytest.raises(AirflowFailException, match="backup_uri is empty: name the backup"):
        run(restore("", **arguments))
    assert imports(promotion) == []


def test_a_running_import_is_waited_for(promotion, run, org, package, plan, backup, logged):
    promotion.end_jobs_after_two_looks()
    job_id = run(
        lambda: InfaStartImportOperator(
            task_id="start", infa_conn_id="infa_test", import_job_id=promotion.upload(package), plan=plan
        )
    )
    assert promotion.job(job_id)["state"] == "IN_PROGRESS"
    run(restore(backup, import_job_id=job_id, plan=plan, rollback=True))
    (ended,) = (job.ended for job in promotion.sim._orgs["test"].jobs if job.id == job_id)
    last_upload = promotion.calls("test", "POST", "/import/package$")[-1]
    assert last_upload["time"] >= ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert f"Import job {job_id} is still IN_PROGRESS" in logged()
    assert without(promotion.sim.state("test"), CREATED) == org


def test_an_import_that_does_not_end_is_not_restored_into(promotion, run, package, plan, backup):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = promotion.carry_out(package, plan)
    with pytest.raises(IdmcTimeoutError, match=job_id) as error:
        run(restore(backup, import_job_id=job_id, plan=plan, rollback=True, timeout=0.5))
    assert not isinstance(error.value, AirflowFailException)
    assert len(imports(promotion)) == 1


# --- when it must not be ----------------------------------------------------------------------------------------------


def test_the_work_of_others_is_not_lost_without_a_word(promotion, run, org, plan, backup, job_id):
    later = {"updated_by": "carla", "update_time": "2099-01-01T10:00:00Z", "definition": {"revision": "9"}}
    promotion.sim.edit_asset("test", *MAPPING, **later)
    before = promotion.sim.state("test")
    arguments = {"import_job_id": job_id, "plan": plan, "rollback": True}
    with pytest.raises(AirflowFailException, match="force=True") as error:
        run(restore(backup, **arguments))
    assert isinstance(error.value.__cause__, IdmcPlanOutdatedError)
    assert "DTEMPLATE Sales/m_orders: carla changed it at 2099-01-01T10:00:00Z" in str(error.value)
    assert promotion.sim.state("test") == before
    assert len(imports(promotion)) == 1
    run(restore(backup, **arguments, force="True"))
    assert without(promotion.sim.state("test"), CREATED) == org


@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_later_promotion_is_not_undone_with_an_earlier_one(
    promotion, run, package, plan, backup, job_id, store, tmp_path, rolled_back
):
    arguments = {"import_job_id": job_id, "plan": plan, "rollback": True}
    long_ago(promotion, job_id)
    if rolled_back:
        long_ago(promotion, run(restore(backup, **arguments))["import_job_id"])
    promotion.sim.edit_asset("dev", *MAPPING, definition={"revision": "5"})
    newer = promotion.package(tmp_path / "newer.zip")
    promotion.carry_out(newer)
    before = promotion.sim.state("test")
    # Somebody clears the tasks of the earlier run, of which one restores.
    if rolled_back:
        assert run(restore(backup, **arguments))["undone"] == job_id
    else:
        with pytest.raises(AirflowFailException) as error:
            run(restore(backup, **arguments))
        assert isinstance(error.value.__cause__, IdmcPlanOutdatedError)
        assert "DTEMPLATE Sales/m_orders: deployer changed it" in str(error.value)
    # Nor by hand, without a word.
    with pytest.raises(AirflowFailException, match="force=True"):
        run(restore(backup, import_job_id=job_id))
    assert promotion.sim.state("test") == before
    assert promotion.asset(*MAPPING)["definition"] == {"revision": "5"}
    assert len(imports(promotion)) == 2 + rolled_back


@pytest.mark.parametrize(("asset", "user"), [(MAPPING, "deployer"), (TASK, "carla")])
def test_a_later_change_by_anybody_stops_it(promotion, run, plan, backup, job_id, asset, user):
    promotion.sim.edit_asset("test", *asset, updated_by=user, update_time="2099-01-01T10:00:00Z")
    before = promotion.sim.state("test")
    with pytest.raises(AirflowFailException, match=f"{asset[0]}: {user} changed it at 2099-01-01T10:00:00Z") as error:
        run(restore(backup, import_job_id=job_id, plan=plan, rollback=True))
    assert isinstance(error.value.__cause__, IdmcPlanOutdatedError)
    assert promotion.sim.state("test") == before
    assert len(imports(promotion)) == 1


@pytest.mark.parametrize(("asset", "changes"), [
    (MAPPING, {"updated_by": "carla", "update_time": "2026-01-01T10:00:00Z"}),  # before the import
    (TASK, {"updated_by": "deployer", "update_time": "2099-01-01T10:00:00Z"}),  # as linking a schedule does
])  # fmt: skip
def test_other_changes_do_not_stop_it(promotion, run, org, plan, backup, job_id, asset, changes):
    promotion.sim.edit_asset("test", *asset, **changes)
    run(restore(backup, import_job_id=job_id, plan=plan, rollback=True))
    assert without(promotion.sim.state("test"), CREATED) == org


def test_a_backup_of_another_org(promotion, run, backup):
    with pytest.raises(AirflowFailException, match="of org ACME_TEST, this is org ACME_PROD") as error:
        run(restore(backup, infa_conn_id="infa_prod"))
    assert isinstance(error.value.__cause__, IdmcWrongOrgError)
    assert promotion.sim.jobs("prod") == []


def edit(change):
    def edited(path):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return edited


DAMAGE = {
    "another package": ("package.zip", None, IdmcPackageError, "not the one that was stored"),
    "cut off": ("package.zip", lambda p: p.write_bytes(p.read_bytes()[:-100]), IdmcPackageError, r"package\.zip"),
    "no package": ("package.zip", lambda p: p.unlink(), IdmcNotFoundError, r"package\.zip"),
    "no description": ("backup.json", lambda p: p.unlink(), IdmcNotFoundError, r"backup\.json"),
    "description is no JSON": ("backup.json", lambda p: p.write_text("{"), IdmcInputError, "holds no backup"),
    "something else": ("backup.json", lambda p: p.write_text('{"version": 1}'), IdmcInputError, "holds no backup"),
    "a list": ("backup.json", lambda p: p.write_text("[]"), IdmcInputError, "holds no backup"),
    "another version": ("backup.json", edit(lambda d: d.update(version=2)), IdmcInputError, "version 2"),
    "another checksum": (
        "backup.json",
        edit(lambda d: d["package"].update(sha256="0" * 64)),
        IdmcPackageError,
        "not the one that was stored",
    ),
    "an unknown schedule": (
        "backup.json",
        edit(lambda d: [row.pop("schedule") for row in d["objects"]]),
        IdmcInputError,
        "holds no backup",
    ),
    "an object without a path": (
        "backup.json",
        edit(lambda d: [row.pop("path") for row in d["objects"]]),
        IdmcInputError,
        "holds no backup",
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_backup_is_refused_before_anything_is_sent(promotion, run, package, backup, tmp_path, how):
    name, change, error, words = DAMAGE[how]
    file = tmp_path / backup.removeprefix(f"file://{tmp_path}/") / name
    (change or (lambda p: p.write_bytes(package.read_bytes())))(file)
    with pytest.raises(AirflowFailException, match=words) as raised:
        run(restore(backup))
    assert isinstance(raised.value.__cause__, error)
    assert imports(promotion) == []


@pytest.mark.parametrize("argument", [{"force": "perhaps"}, {"rollback": "perhaps"}, {"timeout": 0}])
def test_a_bad_argument(promotion, run, backup, argument):
    with pytest.raises(AirflowFailException, match=next(iter(argument))):
        run(restore(backup, **argument))
    assert imports(promotion) == []


def test_a_protected_org_can_be_restored_without_a_new_approval(promotion, run, org, backup, job_id, change_connection):
    change_connection(protected=True)
    run(restore(backup, import_job_id=job_id, rollback=True))
    assert without(promotion.sim.state("test"), CREATED) == org


def test_a_restore_that_fails_can_be_retried(promotion, run, org, backup, job_id):
    promotion.sim.add_fault("test", {"kind": "fail_job", "method": "POST", "path": "/import/(?!package)", "times": 1})
    with pytest.raises(IdmcJobFailedError) as error:
        run(restore(backup))
    assert not isinstance(error.value, AirflowFailException)
    assert re.search("import job .* ACME_TEST", str(error.value), re.I)
    run(restore(backup))
    assert without(promotion.sim.state("test"), CREATED) == org
