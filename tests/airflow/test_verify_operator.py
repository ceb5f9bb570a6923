"""Comparing an org with the plan after the import, as a task does it."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcJobFailedError,
    IdmcUnavailableError,
    IdmcVerificationError,
)
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.schedules import InfaLinkScheduleOperator
from airflow_provider_infa.operators.verify import InfaVerifyImportOperator

MAPPING, TASK = ("Sales/m_orders", "DTEMPLATE"), ("Sales/mt_orders", "MTT")


def verify(plan, job_id, **arguments):
    arguments = {"infa_conn_id": "infa_test", **arguments}
    return lambda: InfaVerifyImportOperator(task_id="verify", plan=plan, import_job_id=job_id, **arguments)


@pytest.fixture
def plan(promotion, package):
    return promotion.plan(package)


@pytest.fixture
def job_id(promotion, package, plan):
    return promotion.carry_out(package, plan)


@pytest.mark.parametrize("write", [dict, json.dumps, str], ids=["mapping", "json", "python"])
def test_what_is_as_planned_and_the_new_ids(promotion, run, plan, job_id, logged, write):
    before = promotion.sim.state("test")
    verified = run(verify(write(plan), job_id))
    # So that nobody takes this for another import's.
    assert verified.keys() == {"import_job_id", "plan_hash", "objects"}
    assert (verified["import_job_id"], verified["plan_hash"]) == (job_id, plan["hash"])
    rows = verified["objects"]
    assert [(row["path"], row["action"]) for row in rows] == [
        (planned["target"]["path"], planned["action"]) for planned in plan["objects"]
    ]
    for row in rows:
        asset = promotion.asset(row["path"], row["type"])
        assert row["new_id"] == asset["id"]
        assert row["old_id"] == (None if row["action"] == "create" else asset["id"])
        assert row["done"] == {"create": "created", "overwrite": "overwritten"}.get(row["action"], "reused")
    assert {row["source_id"] for row in rows} == {planned["source"]["id"] for planned in plan["objects"]}
    text = logged()
    assert "Org ACME_TEST holds all 11 objects as planned" in text
    assert promotion.asset("Sales/tf_sales_daily", "TASKFLOW")["id"] in text
    # It only looks.
    assert promotion.sim.state("test") == before
    assert run(verify(plan, job_id)) == verified
    assert promotion.open_sessions() == 0


def test_objects_that_went_elsewhere_are_found_there(promotion, run, package):
    plan = promotion.plan(package, projects={"Sales": "Finance"})
    rows = run(verify(plan, promotion.carry_out(package, plan)))["objects"]
    assert "Finance/tf_sales_daily" in {row["path"] for row in rows if row["new_id"]}


def remove(promotion):
    promotion.sim.remove_asset("test", "Sales/tf_sales_daily", "TASKFLOW")


def replace(promotion):
    promotion.sim.remove_asset("test", *MAPPING)
    promotion.carry_out(promotion.file)


DIFFERENCES = {
    "gone": (remove, ["TASKFLOW Sales/tf_sales_daily: planned to create, but it is not there."]),
    "replaced": (replace, ["DTEMPLATE Sales/m_orders: its id was", "it is another object"]),
}


@pytest.mark.parametrize("how", DIFFERENCES)
def test_every_difference_fails_the_task(promotion, run, package, plan, job_id, how):
    happen, words = DIFFERENCES[how]
    promotion.file = package
    happen(promotion)
    with pytest.raises(AirflowFailException, match="does not hold what the plan said; 1 of 11 objects differ") as error:
        run(verify(plan, job_id))
    assert isinstance(error.value.__cause__, IdmcVerificationError)
    for part in words:
        assert part in str(error.value)


def test_a_failed_import_is_none_that_holds(promotion, run, package, plan):
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": [MAPPING[0], "Sales/tf_sales_daily"]})
    job_id = promotion.carry_out(package, plan)
    with pytest.raises(AirflowFailException, match="2 of 11 objects differ") as error:
        run(verify(plan, job_id))
    assert "Sales/m_orders: planned to overwrite, but it is as it was: last changed by deployer" in str(error.value)
    assert "Sales/tf_sales_daily: planned to create, but it is not there" in str(error.value)


def test_an_import_that_was_rolled_back_does_not_hold(promotion, run, package, plan, tmp_path):
    arguments = {"infa_conn_id": "infa_test", "plan": plan, "poll_interval": 0.05, "deferrable": False}
    backup = run(lambda: InfaBackupOperator(task_id="b", backup_uri=f"file://{tmp_path}/backup", **arguments))
    job_id = promotion.carry_out(package, plan)
    assert run(verify(plan, job_id, backup_uri=backup))["import_job_id"] == job_id
    given = {"backup_uri": backup, "import_job_id": job_id, "rollback": True, **arguments}
    restored = run(lambda: InfaRestoreOperator(task_id="r", **given))
    # The tasks behind the import are cleared: all of its objects are there, but with their old content.
    words = f"Import job {job_id} was rolled back by job {restored['import_job_id']}"
    with pytest.raises(AirflowFailException, match=words) as error:
        run(verify(plan, job_id, backup_uri=backup))
    assert isinstance(error.value.__cause__, IdmcVerificationError)
    # A later import is another matter.
    later = promotion.plan(package)
    again = promotion.carry_out(package, later)
    assert run(verify(later, again, backup_uri=backup))["import_job_id"] == again


def test_an_import_whose_backup_was_restored_by_hand_does_not_hold(promotion, run, package, plan, tmp_path):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    store = f"file://{tmp_path}/backup"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    job_id = promotion.carry_out(package, plan)
    # Nothing but the backup is named, so the restore can't tell which import it undoes.
    restored = run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, **arguments))
    assert (restored["undone"], promotion.asset(*MAPPING)["definition"]) == (None, {"revision": "3"})
    with pytest.raises(AirflowFailException, match=f"{job_id} was rolled back .* from plan on") as error:
        run(verify(plan, job_id, backup_uri=backup))
    assert isinstance(error.value.__cause__, IdmcVerificationError)
    # Cleared from plan on, it is another plan with another backup.
    later = promotion.plan(package)
    another = run(lambda: InfaBackupOperator(task_id="b", plan=later, backup_uri=store, **arguments))
    again = promotion.carry_out(package, later)
    assert another != backup
    assert run(verify(later, again, backup_uri=another))["import_job_id"] == again


@pytest.mark.parametrize("ends", ["refused", "failed"])
def test_a_restore_by_hand_that_did_not_complete(promotion, run, package, plan, tmp_path, ends):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    store = f"file://{tmp_path}/backup"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    fault = {"kind": "deny"} if ends == "refused" else {"kind": "fail_objects", "paths": [TASK[0]]}
    job_id = promotion.carry_out(package, plan) if ends == "failed" else None
    promotion.sim.add_fault("test", {**fault, "method": "POST", "path": "/import/(?!package$)"})
    with pytest.raises((AirflowFailException, IdmcJobFailedError)):
        run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, **arguments))
    promotion.sim.clear_faults()
    if job_id:
        # What it had begun is done.
        with pytest.raises(AirflowFailException, match=f"{job_id} was rolled back"):
            run(verify(plan, job_id, backup_uri=backup))
    else:
        # It changed nothing, so the plan holds, and the import that follows is not undone.
        job_id = promotion.carry_out(package, plan)
        assert run(verify(plan, job_id, backup_uri=backup))["import_job_id"] == job_id


@pytest.fixture
def refused(promotion, run, package, plan, tmp_path):
    """An import whose rollback IDMC has refused to start, and its backup."""
    arguments = {"infa_conn_id": "infa_test", "plan": plan, "poll_interval": 0.05, "deferrable": False}
    backup = run(lambda: InfaBackupOperator(task_id="b", backup_uri=f"file://{tmp_path}/backup", **arguments))
    job_id = promotion.carry_out(package, plan)
    promotion.sim.add_fault("test", {"kind": "deny", "method": "POST", "path": "/import/(?!package$)"})
    with pytest.raises(AirflowFailException, match="MigrationSvc_040"):
        run(
            lambda: InfaRestoreOperator(
                task_id="r", backup_uri=backup, import_job_id=job_id, rollback=True, **arguments
            )
        )
    promotion.sim.clear_faults()
    return {"backup_uri": backup, "import_job_id": job_id, "plan": plan}


@pytest.mark.parametrize("step", [InfaVerifyImportOperator, InfaPublishOperator, InfaLinkScheduleOperator])
def test_a_rollback_that_was_refused_is_none(run, refused, step):
    """The org still holds the import: once the cause is mended, the tasks behind it can be cleared."""
    run(lambda: step(task_id="t", infa_conn_id="infa_test", **refused))


def test_a_rollback_of_which_nobody_knows_counts_as_one(run, refused):
    """IDMC has forgotten the job that was to restore the backup."""
    note = ObjectStoragePath(f"{refused['backup_uri']}/restored.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "import_job_id": "0123456789abcdefABCDEF"}))
    with pytest.raises(AirflowFailException, match=f"{refused['import_job_id']} was rolled back"):
        run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))


def test_nothing_goes_on_without_a_look_at_the_rollback(promotion, run, refused):
    path = f"/import/(?!{refused['import_job_id']})"
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": path})
    with pytest.raises(AirflowFailException, match="MigrationSvc_040"):
        run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))


def test_a_gateway_does_not_tell_whether_there_was_a_rollback(promotion, run, refused):
    path = f"/import/(?!{refused['import_job_id']})"
    promotion.sim.add_fault("test", {"kind": "maintenance", "status": 404, "method": "GET", "path": path})
    with pytest.raises(IdmcUnavailableError) as error:
        run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))
    # The task's retry asks again.
    assert not isinstance(error.value, AirflowFailException)
    promotion.sim.clear_faults()
    assert run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))


def test_a_rollback_whose_start_got_through_after_all_is_one(promotion, run, refused):
    """What is asked is IDMC, not how the restore took it."""
    note = json.loads(ObjectStoragePath(f"{refused['backup_uri']}/restored.json").read_text())
    promotion.start(note["import_job_id"])
    with pytest.raises(AirflowFailException, match=f"was rolled back by job {note['import_job_id']}"):
        run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))


def test_a_rollback_that_failed_half_way_is_one(promotion, run, refused):
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": [TASK[0]]})
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False, "rollback": True}
    with pytest.raises(IdmcJobFailedError):
        run(lambda: InfaRestoreOperator(task_id="r", **refused, **arguments))
    promotion.sim.clear_faults()
    with pytest.raises(AirflowFailException, match=f"{refused['import_job_id']} was rolled back"):
        run(verify(refused["plan"], refused["import_job_id"], backup_uri=refused["backup_uri"]))


def test_a_rollback_is_not_forgotten_when_another_restore_is_refused(promotion, run, package, plan, tmp_path):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    store = f"file://{tmp_path}/backup"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    job_id = promotion.carry_out(package, plan)
    given = {"backup_uri": backup, "import_job_id": job_id, "rollback": True}
    run(lambda: InfaRestoreOperator(task_id="r", **given, **arguments))
    promotion.sim.add_fault("test", {"kind": "deny", "method": "POST", "path": "/import/(?!package$)"})
    with pytest.raises(AirflowFailException):
        run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, **arguments))
    promotion.sim.clear_faults()
    with pytest.raises(AirflowFailException, match=f"{job_id} was rolled back"):
        run(verify(plan, job_id, backup_uri=backup))


def test_an_import_that_did_something_else(promotion, run, package, plan):
    # Somebody started the job by hand, with other rules.
    specification = {**plan["import_specification"], "defaultConflictResolution": "REUSE"}
    job_id = promotion.start(promotion.upload(package), specification)
    with pytest.raises(AirflowFailException, match="2 of 11 objects differ") as error:
        run(verify(plan, job_id))
    assert "MTT Sales/mt_orders: planned to overwrite, but IDMC says that it was reused." in str(error.value)


def test_what_others_do_afterwards_is_none_of_its_business(promotion, run, plan, job_id):
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla")
    assert len(run(verify(plan, job_id))["objects"]) == 11


def test_publishing_and_linking_change_nothing_about_it(promotion, run, tmp_path):
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package)
    job_id = promotion.carry_out(package, plan)
    promotion.sim.edit_asset("test", "Service/p_open_ticket", "PROCESS", published=True)
    assert len(run(verify(plan, job_id))["objects"]) == len(plan["objects"])


@pytest.mark.parametrize(("change", "words"), [
    ({"version": 9}, "version 9"), ({"objects": []}, "changed after it was made"),
])  # fmt: skip
def test_a_plan_that_is_none(promotion, run, plan, job_id, change, words):
    with pytest.raises(AirflowFailException, match=words) as error:
        run(verify({**plan, **change}, job_id))
    assert isinstance(error.value.__cause__, IdmcInputError)


@pytest.mark.parametrize("missing", ["", "None", "0123456789abcdefABCDEF"])
def test_a_job_that_is_not_there(promotion, run, plan, missing):
    with pytest.raises(AirflowFailException, match="import"):
        run(verify(plan, missing))


def test_the_wrong_org(promotion, run, plan, job_id):
    with pytest.raises(AirflowFailException, match=f"import/{job_id} in org ACME_PROD"):
        run(verify(plan, job_id, infa_conn_id="infa_prod"))
