"""Plan, job and backup belong together: tasks that were cleared alone, and what others did meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_infa import storage
from airflow_provider_infa.idmc import policy
from airflow_provider_infa.idmc.approval import approval_of
from airflow_provider_infa.idmc.errors import IdmcStorageError
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.imports import InfaStartImportOperator, InfaUploadPackageOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.record import InfaRecordPromotionOperator
from airflow_provider_infa.operators.schedules import InfaLinkScheduleOperator
from airflow_provider_infa.operators.verify import InfaVerifyImportOperator

TARGET = {"infa_conn_id": "infa_test"}
WAITING = {"poll_interval": 0.05, "deferrable": False}
BEHIND = [InfaVerifyImportOperator, InfaPublishOperator, InfaLinkScheduleOperator]


@pytest.fixture
def plan(promotion, package):
    return promotion.plan(package)


@pytest.fixture
def store(tmp_path):
    return f"file://{tmp_path}/store"


@pytest.fixture
def save(run, store):
    def save(plan):
        return run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **WAITING, **TARGET))

    return save


@pytest.fixture
def roll_back(run):
    def roll_back(**given):
        return run(lambda: InfaRestoreOperator(task_id="r", **given, **WAITING, **TARGET))

    return roll_back


@pytest.fixture
def good(promotion, package, plan, save):
    """A promotion that went well, after which the plan task alone was cleared: its arguments, and the other plan."""
    backup = save(plan)
    job_id = promotion.carry_out(package, plan)
    other = promotion.plan(package)
    assert other["hash"] != plan["hash"]
    return {"import_job_id": job_id, "backup_uri": backup}, other


def revision(promotion):
    return promotion.asset("Sales/m_orders", "DTEMPLATE")["definition"]["revision"]


@pytest.mark.parametrize("operator", BEHIND)
def test_a_step_refuses_an_import_of_another_plan(promotion, run, plan, good, operator):
    given, other = good
    before = promotion.sim.assets("test")
    for more in (given, {**given, "backup_uri": None}):
        with pytest.raises(
            AirflowFailException, match=f"{given['import_job_id']}.* for another plan than {other['hash'][:12]}"
        ):
            run(lambda more=more: operator(task_id="t", plan=other, **more, **TARGET))
    assert promotion.sim.assets("test") == before
    run(lambda: operator(task_id="t", plan=plan, **given, **TARGET))


@pytest.mark.parametrize("is_saved_again", [False, True])
@pytest.mark.parametrize("rollback", [False, True])
def test_a_good_import_is_not_rolled_back_for_another_plan(promotion, save, roll_back, good, is_saved_again, rollback):
    """Verifying was cleared as well, refused, and what it had returned is gone."""
    given, other = good
    if is_saved_again:
        given["backup_uri"] = save(other)
    imported = revision(promotion)
    with pytest.raises(AirflowFailException, match=r"was started for another plan than .*Nothing was done"):
        roll_back(plan=other, rollback=rollback, **given)
    assert revision(promotion) == imported


def test_a_backup_of_another_plan_undoes_no_import(promotion, save, roll_back, plan, good):
    given, other = good
    with pytest.raises(AirflowFailException, match="was started for another plan"):
        roll_back(import_job_id=given["import_job_id"], backup_uri=save(other))
    # Its own does.
    roll_back(**given)
    assert revision(promotion) == "3"


def test_another_plan_is_not_recorded_as_promoted(run, plan, good, store):
    given, other = good
    verified = {"import_job_id": given["import_job_id"], "plan_hash": other["hash"], "objects": []}
    short = run(lambda: InfaRecordPromotionOperator(task_id="r", plan=other, verified=verified, **given, **TARGET))
    assert (short["state"], short["import_job_id"]) == ("failed", None)


def test_a_job_that_the_org_has_forgotten_is_not_held_against_its_plan(run, plan):
    assert run(lambda: InfaLinkScheduleOperator(task_id="t", plan=plan, import_job_id="forgotten", **TARGET)) == []


def test_a_backup_that_resumes_with_another_plan_is_refused(promotion, run, package, store):
    plans = [promotion.plan(package)]
    promotion.end_jobs_after_two_looks()

    def resumed():
        if run.deferrals and len(plans) == 1:
            work = {"definition": {"revision": "carla's"}, "updated_by": "carla"}
            promotion.sim.edit_asset("test", "Sales/m_orders", "DTEMPLATE", **work)
            plans.append(promotion.plan(package))
        waiting = {"poll_interval": 0.05, "deferrable": True}
        return InfaBackupOperator(task_id="b", plan=plans[-1], backup_uri=store, **waiting, **TARGET)

    with pytest.raises(AirflowFailException, match=r"-backup-plan-\w+, was started for another plan"):
        run(resumed)
    assert len(run.deferrals) == 1
    assert not Path(store.removeprefix("file://")).exists()


def test_what_was_linked_after_the_import_is_no_later_change(promotion, run, package, save, roll_back):
    """Restored by hand, from the backup and the job alone."""
    old = {"schedule": None, "updated_by": "deployer", "update_time": "2026-01-20T06:00:13Z"}
    promotion.sim.edit_asset("test", "Sales/mt_orders", "MTT", **old)
    plan = promotion.plan(package, schedules={"Sales/mt_orders": "nightly"})
    backup = save(plan)
    job_id = promotion.carry_out(package, plan)
    run(lambda: InfaLinkScheduleOperator(task_id="l", plan=plan, import_job_id=job_id, **TARGET))
    later = {"updated_by": "deployer", "update_time": "2031-01-01T00:00:00Z"}
    promotion.sim.edit_asset("test", "Sales/mt_orders", "MTT", **later)
    assert "Sales/mt_orders" in [row["path"] for row in roll_back(import_job_id=job_id, backup_uri=backup)["restored"]]


@pytest.mark.parametrize("by_job", [False, True])
def test_what_was_restored_by_hand_is_not_recorded_as_promoted(promotion, run, roll_back, plan, good, store, by_job):
    given, _ = good
    verified = run(lambda: InfaVerifyImportOperator(task_id="v", plan=plan, **given, **TARGET))
    report = roll_back(**given if by_job else {"backup_uri": given["backup_uri"]})

    def record():
        return InfaRecordPromotionOperator(
            task_id="r", plan=plan, verified=verified, audit_uri=store, **given, **TARGET
        )

    short = run(record)
    assert short["state"] == "rolled back"
    assert report["import_job_id"] in storage.read_text(short["record_uri"])
    assert not list(run.context["outlet_events"])


def test_nothing_is_imported_by_another_user_than_the_plan_says(between, run, connect, tmp_path):
    promotion = between([{"path": "Sales/m", "type": "DTEMPLATE"}], [])
    package = promotion.package(tmp_path / "release.zip")
    job_id, plan = promotion.upload(package), promotion.plan(package)
    password = promotion.sim._orgs["test"].users["anna"].password
    connect("infa_test", {**promotion.sim.connections["infa_test"], "login": "anna", "password": password})
    approval = approval_of(plan["hash"], "ada")
    with pytest.raises(AirflowFailException, match=r"The plan says that deployer imports, but .* as anna now"):
        run(lambda: InfaStartImportOperator(task_id="s", import_job_id=job_id, plan=plan, approval=approval, **TARGET))
    assert promotion.job(job_id)["starts"] == 0


def test_what_is_uploaded_is_what_was_checked(promotion, run, package, plan, tmp_path, monkeypatch):
    """A file that is written anew while its upload is being repeated."""
    monkeypatch.setattr(policy, "FIRST_DELAY", 0.5)
    promotion.sim.edit_asset("dev", "Sales/m_orders", "DTEMPLATE", definition={"revision": "never planned"})
    newer = promotion.package(tmp_path / "newer.zip")
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "POST", "path": "/import/package$", "times": 1})

    def write_anew():
        while not promotion.calls("test", "POST", "/import/package$"):
            time.sleep(0.01)
        shutil.copyfile(newer, package)

    writer = threading.Thread(target=write_anew)
    writer.start()
    planned = plan["package"]["sha256"]
    given = {"package_uri": str(package), "package_sha256": planned}
    job_id = run(lambda: InfaUploadPackageOperator(task_id="u", **given, **TARGET))
    writer.join()
    assert package.read_bytes() == newer.read_bytes()
    assert len(promotion.calls("test", "POST", "/import/package$")) == 2
    assert (run.xcom["package_sha256"], promotion.job(job_id)["package_sha256"]) == (planned, planned)


@pytest.mark.parametrize("operator", BEHIND)
def test_a_store_that_cannot_be_asked_does_not_hide_a_rollback(run, roll_back, plan, good, monkeypatch, operator):
    given, _ = good
    roll_back(plan=plan, rollback=True, **given)

    def lost(*args, **kwargs):
        raise ConnectionResetError("Connection reset by peer")

    place = storage._object_path(given["backup_uri"])
    monkeypatch.setattr(type(place.fs), "info", lost)
    with pytest.raises(IdmcStorageError, match=r"restored\.json' can't be read: Connection reset") as error:
        run(lambda: operator(task_id="t", plan=plan, **given, **TARGET))
    assert not isinstance(error.value, AirflowFailException | AirflowSkipException)  # a retry finds it back
