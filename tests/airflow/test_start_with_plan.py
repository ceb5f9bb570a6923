"""Starting an import with its plan: only what was planned and approved, and only while the org still is as planned."""

from __future__ import annotations

import json
import shutil

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_infa.idmc.approval import AUTOMATIC, approval_of
from airflow_provider_infa.idmc.errors import (
    IdmcApprovalError,
    IdmcInputError,
    IdmcJobFailedError,
    IdmcPackageError,
    IdmcPlanOutdatedError,
    IdmcWrongOrgError,
)
from airflow_provider_infa.operators.backup import InfaBackupOperator
from airflow_provider_infa.operators.imports import InfaStartImportOperator
from airflow_provider_infa.sensors.imports import InfaImportSensor

MAPPING, TASK = ("Sales/m_orders", "DTEMPLATE"), ("Sales/mt_orders", "MTT")
#: When the simulator's org test got both.
THEN = {"Sales/m_orders": "2026-01-20T06:00:12Z", "Sales/mt_orders": "2026-01-20T06:00:13Z"}


def start(**arguments):
    arguments = {"poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaStartImportOperator(task_id="start", **{"infa_conn_id": "infa_test", **arguments})


@pytest.fixture
def plan(promotion, package):
    return promotion.plan(package)


@pytest.fixture
def job_id(promotion, package):
    return promotion.upload(package)


def refused(promotion, run, job_id, error, match, **arguments):
    """Start, and make sure that nothing is started; returns the message."""
    before = promotion.sim.state("test")
    with pytest.raises(AirflowFailException, match=match) as raised:
        run(start(import_job_id=job_id, **arguments))
    assert type(raised.value.__cause__) is error
    assert promotion.job(job_id)["start_requests"] == 0
    assert promotion.sim.state("test") == before
    assert promotion.open_sessions() == 0
    return str(raised.value)


def test_a_plan_is_carried_out_byte_for_byte(promotion, run, plan, job_id):
    assert run(start(import_job_id=job_id, plan=plan, wait_for_completion=True)) == job_id
    job = promotion.job(job_id)
    assert job["state"] == "SUCCESSFUL"
    assert job["specification"]["importSpecification"] == plan["import_specification"]


@pytest.mark.parametrize(("given", "named"), [({}, "promote-manual"), ({"name": "night"}, "night")])
def test_a_job_tells_which_plan_it_was_started_for(promotion, run, plan, job_id, given, named):
    run(start(import_job_id=job_id, plan=plan, **given))
    name = promotion.job(job_id)["name"]
    assert name.startswith(named)
    assert name.endswith(f"-plan-{plan['hash'][:12]}")


def test_nothing_is_attached_to_that_was_started_for_another_plan(promotion, run, package, plan, job_id):
    run(start(import_job_id=job_id, plan=plan, wait_for_completion=True))
    # The plan task alone was cleared: what was missing is there by now.
    other = promotion.plan(package)
    assert other["hash"] != plan["hash"]
    told = f"{job_id}.* was started for another plan than {other['hash'][:12]}"
    with pytest.raises(AirflowFailException, match=told):
        run(start(import_job_id=job_id, plan=other, wait_for_completion=True))
    # One that nobody started for a plan is taken for this one's.
    job_id = promotion.carry_out(package, other, name="by-hand")
    assert run(start(import_job_id=job_id, plan=plan)) == job_id


@pytest.mark.parametrize("nothing", ["", "None", "{}", {}])
def test_an_empty_plan_is_none(promotion, run, job_id, nothing):
    """Without a plan, all that the package holds would be imported, whatever the org has become."""
    refused(promotion, run, job_id, IdmcInputError, "The plan is empty: .* Nothing was imported", plan=nothing)


# --- what was uploaded and saved --------------------------------------------------------------------------------------


@pytest.fixture
def saved(run, tmp_path):
    """Make the backup of a plan."""
    arguments = {"infa_conn_id": "infa_test", "backup_uri": f"file://{tmp_path}/store", "deferrable": False}
    return lambda plan: run(lambda: InfaBackupOperator(task_id="backup", plan=plan, poll_interval=0.05, **arguments))


def test_what_belongs_together_is_started(promotion, run, plan, job_id, saved):
    sha256 = plan["package"]["sha256"].upper()
    run(start(import_job_id=job_id, plan=plan, package_sha256=sha256, backup_uri=saved(plan)))
    assert promotion.job(job_id)["start_requests"] == 1


@pytest.mark.parametrize("other", ["0" * 64, "", "None"])
def test_an_upload_of_another_plan(promotion, run, plan, job_id, other):
    """After export and plan were cleared alone, the job still holds the package of before."""
    told = "holds another package than the planned one.*Clear from the plan on"
    refused(promotion, run, job_id, IdmcPackageError, told, plan=plan, package_sha256=other)


def test_a_backup_of_another_plan(promotion, run, package, plan, job_id, saved):
    """After somebody's edit was planned anew alone, a rollback to the backup of before would lose that edit."""
    backup_uri = saved(plan)
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla", definition={"revision": "9"})
    again = promotion.plan(package)
    told = f"made for plan {plan['hash']}, this is plan {again['hash']}"
    refused(promotion, run, job_id, IdmcInputError, told, plan=again, backup_uri=backup_uri)


@pytest.mark.parametrize("nothing", ["", "None"])
def test_a_backup_that_was_not_made(promotion, run, plan, job_id, nothing):
    refused(promotion, run, job_id, IdmcInputError, "no backup of what the plan over", plan=plan, backup_uri=nothing)


def test_a_job_that_runs_is_attached_to_whatever_became_of_the_backup(promotion, run, plan, job_id, saved, tmp_path):
    """A retry on another worker, say, where a folder of this one is not to be seen."""
    arguments = {"import_job_id": job_id, "plan": plan, "backup_uri": saved(plan)}
    run(start(**arguments))
    shutil.rmtree(tmp_path / "store")
    assert run(start(**arguments)) == job_id
    assert promotion.job(job_id)["start_requests"] == 1


def test_nothing_to_overwrite_needs_no_backup(promotion, run, package, job_id, saved):
    plan = promotion.plan(package, default_conflict_resolution="REUSE")
    assert saved(plan) is None
    run(start(import_job_id=job_id, plan=plan, backup_uri="None"))
    assert promotion.job(job_id)["start_requests"] == 1


def test_parts_without_a_plan(promotion, run, job_id):
    told = "backup_uri and package_sha256 can only be compared with a plan"
    refused(promotion, run, job_id, IdmcInputError, told, package_sha256="0" * 64, backup_uri="file:///b")


@pytest.mark.parametrize("write", [json.dumps, str], ids=["json", "python"])
def test_a_plan_as_text(promotion, run, plan, job_id, write):
    run(start(import_job_id=job_id, plan=write(plan), import_specification="None", approval=None))
    assert promotion.job(job_id)["specification"]["importSpecification"] == plan["import_specification"]


# --- the org changes between plan and start ---------------------------------------------------------------------------


def edit(asset, **changes):
    return lambda promotion, package: promotion.sim.edit_asset("test", *asset, **changes)


def remove(*asset):
    return lambda promotion, package: promotion.sim.remove_asset("test", *asset)


def replace(promotion, package):
    promotion.sim.remove_asset("test", *MAPPING)
    bring(promotion, package, MAPPING[0])


def bring(promotion, package, *paths):
    """Somebody imports a part of the release by hand."""
    promotion.carry_out(package, promotion.plan(package, include_objects=list(paths)))


def bring_new(promotion, package):
    bring(promotion, package, "Sales/Staging/m load customers")


CHANGES = {
    "changed by somebody": (edit(MAPPING, updated_by="carla"), r"DTEMPLATE Sales/m_orders: carla changed it at 20"),
    "changed by the same user": (edit(TASK, description="x"), r"MTT Sales/mt_orders: deployer changed it at 20"),
    "changed by somebody at the same time": (
        edit(MAPPING, updated_by="carla", update_time=THEN[MAPPING[0]]),
        r"DTEMPLATE Sales/m_orders: carla changed it at 2026-01-20T06:00:12Z",
    ),
    "removed": (remove(*TASK), "MTT Sales/mt_orders: it was to be overwritten, and is no longer there"),
    "replaced": (replace, "DTEMPLATE Sales/m_orders: another object stands in its place: its id was "),
    "created": (
        bring_new,
        "DTEMPLATE Sales/Staging/m load customers: it was missing, and is there now, last changed by deployer at 20",
    ),
    "no longer there to be reused": (
        remove("ff_landing", "Connection"),
        "Connection ff_landing: it was to be reused, and is no longer there",
    ),
    "no longer there to be used instead": (
        remove("ora_test", "Connection"),
        "Connection ora_test: it was to be used instead, and is no longer there",
    ),
    "checked out by somebody": (
        edit(TASK, checked_out_by="carla", update_time=THEN[TASK[0]]),
        "MTT Sales/mt_orders: .*carla",
    ),
    "put under source control": (
        edit(TASK, source_controlled=True, update_time=THEN[TASK[0]]),
        "MTT Sales/mt_orders: .*check",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_since_the_plan_stops_the_start(promotion, run, package, plan, job_id, change):
    happen, words = CHANGES[change]
    happen(promotion, package)
    message = refused(promotion, run, job_id, IdmcPlanOutdatedError, words, plan=plan)
    assert plan["hash"][:12] in message
    assert "ACME_TEST" in message
    assert "Plan again" in message


def test_all_changes_are_told_at_once(promotion, run, plan, job_id):
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla")
    promotion.sim.remove_asset("test", "sf_crm", "Connection")
    message = refused(promotion, run, job_id, IdmcPlanOutdatedError, "What changed", plan=plan)
    assert len(message.splitlines()) == 3


UNTOUCHED = {
    "reused": edit(("ff_landing", "Connection"), updated_by="carla"),
    "used instead": edit(("ora_test", "Connection"), updated_by="carla"),
    "not part of the plan": edit(("Finance/m_ledger", "DTEMPLATE"), updated_by="carla"),
    "gone, and not part of the plan": remove("Finance/m_ledger", "DTEMPLATE"),
    "checked out by the promoting user": edit(TASK, checked_out_by="deployer", update_time=THEN[TASK[0]]),
}


@pytest.mark.parametrize("change", UNTOUCHED)
def test_what_the_import_does_not_touch_may_change(promotion, run, package, plan, job_id, change):
    UNTOUCHED[change](promotion, package)
    run(start(import_job_id=job_id, plan=plan, wait_for_completion=True))
    assert promotion.job(job_id)["state"] == "SUCCESSFUL"


def test_a_plan_for_another_org(promotion, run, plan, job_id):
    # The job is one of test, the connection leads to prod: nobody is asked twice.
    with pytest.raises(AirflowFailException, match=r"for org ACME_TEST.*leads to org ACME_PROD") as error:
        run(start(import_job_id=job_id, plan=plan, infa_conn_id="infa_prod"))
    assert isinstance(error.value.__cause__, IdmcWrongOrgError)
    assert promotion.calls("prod", "POST", "/import/") == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_started_job_is_attached_to_without_asking_again(promotion, run, plan, job_id, logged, deferrable):
    # Somebody's change, and the import's own, must not keep a retry from waiting for its end.
    promotion.end_jobs_after_two_looks()
    run(start(import_job_id=job_id, plan=plan))
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla")
    looked_up = len(promotion.calls("test", "POST", "/lookup$"))
    for _ in range(2):
        assert run(start(import_job_id=job_id, plan=plan, wait_for_completion=True, deferrable=deferrable)) == job_id
    assert promotion.job(job_id)["starts"] == promotion.job(job_id)["start_requests"] == 1
    assert len(promotion.calls("test", "POST", "/lookup$")) == looked_up
    assert "not started again" in logged()


# --- plans that are none ----------------------------------------------------------------------------------------------

BAD = {
    "no plan": (lambda plan: {"import_specification": {}}, "InfaPlanImportOperator"),
    "another version": (lambda plan: {**plan, "version": 2}, "version 2"),
    "edited": (lambda plan: {**plan, "import_specification": {}}, "changed after it was made"),
    "an object left out": (lambda plan: {**plan, "objects": plan["objects"][1:]}, "changed after it was made"),
    "another hash": (lambda plan: {**plan, "hash": "0" * 64}, "changed after it was made"),
    "damaged": (lambda plan: {**plan, "objects": [{}]}, "damaged"),
    "a list": (lambda plan: [plan], "plan must be a mapping"),
    "no structure": (lambda plan: "{", "plan is neither JSON"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_plan_that_is_none(promotion, run, plan, job_id, how):
    change, words = BAD[how]
    refused(promotion, run, job_id, IdmcInputError, words, plan=change(plan))


def test_a_plan_and_a_specification_exclude_each_other(promotion, run, plan, job_id):
    words = "plan and import_specification exclude each other"
    specification = plan["import_specification"]
    refused(promotion, run, job_id, IdmcInputError, words, plan=plan, import_specification=specification)


# --- approval ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def protected(change_connection):
    change_connection(protected=True)


def test_a_protected_org_takes_nothing_that_was_not_approved(protected, promotion, run, plan, job_id):
    words = "Org ACME_TEST is protected.*approved plan"
    specification = plan["import_specification"]
    for arguments in ({"plan": plan}, {"import_specification": specification}, {}):
        refused(promotion, run, job_id, IdmcApprovalError, words, **arguments)


@pytest.mark.parametrize("is_protected", [False, True])
@pytest.mark.parametrize("nothing", ["", "None", "{}", {}])
def test_an_empty_approval_is_none(promotion, run, plan, job_id, change_connection, nothing, is_protected):
    change_connection(protected=is_protected)
    refused(promotion, run, job_id, IdmcApprovalError, "The approval is empty", plan=plan, approval=nothing)


def test_an_approval_that_renders_to_nothing_starts_nothing(promotion, context, plan, job_id):
    # The approving task was marked as successful by hand, so it returned nothing.
    before = promotion.sim.state("test")
    with DAG("promote", schedule=None, render_template_as_native_obj=True):
        task = start(import_job_id=job_id, plan="{{ plan }}", approval="{{ decision }}")()
    task.render_template_fields({**context, "plan": plan, "decision": None})
    assert (task.plan, task.approval) == (plan, None)
    with pytest.raises(AirflowFailException, match="The approval is empty") as error:
        task.execute(context)
    assert isinstance(error.value.__cause__, IdmcApprovalError)
    assert promotion.job(job_id)["start_requests"] == 0
    assert promotion.sim.state("test") == before


APPROVALS = {
    "of another plan": (lambda made: approval_of("0" * 64, "ada"), IdmcApprovalError, "ada approved is 0000"),
    "a rejection": (lambda made: approval_of(made, "ada", approved=False), IdmcApprovalError, "rejected by ada"),
    "something else": (lambda made: {"chosen_options": ["Approve"]}, IdmcInputError, "approve.output"),
}


@pytest.mark.parametrize("is_protected", [False, True])
@pytest.mark.parametrize("which", APPROVALS)
def test_a_wrong_approval_is_refused(promotion, run, plan, job_id, change_connection, which, is_protected):
    change_connection(protected=is_protected)
    make, error, words = APPROVALS[which]
    refused(promotion, run, job_id, error, words, plan=plan, approval=make(plan["hash"]))


def test_an_approval_needs_its_plan(protected, promotion, run, plan, job_id):
    approval, specification = approval_of(plan["hash"], "ada"), plan["import_specification"]
    words = "set plan as well"
    refused(promotion, run, job_id, IdmcApprovalError, words, approval=approval, import_specification=specification)


@pytest.mark.parametrize("by", ["ada", AUTOMATIC])
@pytest.mark.parametrize("write", [dict, json.dumps, str], ids=["mapping", "json", "python"])
def test_an_approved_plan_is_carried_out(protected, promotion, run, plan, job_id, by, write):
    approval = write(approval_of(plan["hash"], by))
    run(start(import_job_id=job_id, plan=plan, approval=approval, wait_for_completion=True))
    job = promotion.job(job_id)
    assert (job["state"], job["starts"]) == ("SUCCESSFUL", 1)
    assert job["specification"]["importSpecification"] == plan["import_specification"]


def test_an_approved_plan_that_is_outdated_is_refused_all_the_same(protected, promotion, run, plan, job_id):
    promotion.sim.edit_asset("test", *MAPPING, updated_by="carla")
    approval = approval_of(plan["hash"], "ada")
    refused(promotion, run, job_id, IdmcPlanOutdatedError, "carla changed it", plan=plan, approval=approval)


# --- leaving the verdict to another task ------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failure_may_be_left_to_a_sensor(promotion, run, plan, job_id, deferrable):
    promotion.end_jobs_after_two_looks()
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"]})
    arguments = {"import_job_id": job_id, "plan": plan, "wait_for_completion": True, "deferrable": deferrable}
    assert run(start(**arguments, fail_on_failure="False")) == job_id
    # It has waited, though.
    assert promotion.job(job_id)["state"] == "FAILED"
    assert len(run.deferrals) == deferrable
    with pytest.raises(IdmcJobFailedError, match="Sales/mt_orders"):
        run(lambda: InfaImportSensor(task_id="wait", infa_conn_id="infa_test", import_job_id=job_id))
    with pytest.raises(IdmcJobFailedError, match="Sales/mt_orders"):
        run(start(**arguments))


def test_fail_on_failure_is_a_yes_or_no(promotion, run, plan, job_id):
    refused(promotion, run, job_id, IdmcInputError, "fail_on_failure", plan=plan, fail_on_failure="perhaps")
