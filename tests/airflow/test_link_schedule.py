"""Linking mapping tasks to schedules, as a task does it."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcNotFoundError,
    IdmcUnavailableError,
    IdmcVerificationError,
)
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.wishes import Wishes
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.schedules import InfaLinkScheduleOperator

TASK = "Sales/mt_orders"


def link(schedules=None, **arguments):
    arguments = {"infa_conn_id": "infa_test", **arguments}
    return lambda: InfaLinkScheduleOperator(task_id="link", schedules=schedules, **arguments)


def schedules(promotion):
    assets = promotion.sim.assets("test")
    return {a["path"]: a["schedule"] for a in assets if a["type"] == "MTT" and a["schedule"]}


@pytest.fixture(autouse=True)
def free(promotion):
    """Nobody has the other task checked out."""
    promotion.sim.edit_asset("test", "Support/mt_tickets", "MTT", source_controlled=False)


@pytest.mark.parametrize("write", [dict, json.dumps, str], ids=["mapping", "json", "python"])
def test_a_task_gets_another_schedule(promotion, run, write):
    assert schedules(promotion) == {TASK: "nightly"}
    assert run(link(write({TASK: "hourly"}))) == [{"path": TASK, "schedule": "hourly", "linked": True}]
    assert schedules(promotion) == {TASK: "hourly"}
    assert promotion.open_sessions() == 0


def test_what_is_linked_already_stays_as_it_is(promotion, run, logged):
    before = promotion.asset(TASK, "MTT")
    assert run(link({TASK: "nightly"})) == [{"path": TASK, "schedule": "nightly", "linked": False}]
    assert promotion.asset(TASK, "MTT") == before
    assert f"{TASK} was already run by schedule nightly" in logged()


def planned(promotion, package, **wishes):
    with InfaHook("infa_test") as hook:
        return plan_import(hook.get_conn(), read_package(package), Wishes(**promotion.names, **wishes)).to_json()


def test_a_plan_announces_what_is_linked(promotion, package, run):
    plan = planned(promotion, package, schedules={TASK: "hourly", "Support/mt_tickets": "nightly"})
    assert plan["schedules"] == {TASK: "hourly"}
    assert TASK not in plan["unscheduled"]
    assert any("Support/mt_tickets" in warning for warning in plan["warnings"])
    assert plan["hash"] != planned(promotion, package, schedules={TASK: "nightly"})["hash"]
    assert run(link(plan=plan)) == [{"path": TASK, "schedule": "hourly", "linked": True}]
    assert schedules(promotion) == {TASK: "hourly"}
    with pytest.raises(AirflowFailException, match="exclude each other"):
        run(link({TASK: "nightly"}, plan=plan))


def test_a_plan_is_not_made_with_a_schedule_that_does_not_exist(promotion, package):
    with pytest.raises(IdmcNotFoundError, match="no schedule 'weekly'"):
        planned(promotion, package, schedules={TASK: "weekly"})


@pytest.mark.parametrize("nothing", [{}, {"schedules": {}}, {"schedules": "None", "plan": "None"}])
def test_nothing_to_link(promotion, run, nothing):
    assert run(link(**nothing)) == []
    assert schedules(promotion) == {TASK: "nightly"}


BAD = {
    "no such schedule": ({TASK: "hourly", "Support/mt_tickets": "weekly"}, IdmcNotFoundError, "no schedule 'weekly'"),
    "no such task": ({TASK: "hourly", "Sales/gone": "nightly"}, IdmcNotFoundError, "Sales/gone"),
    "no mapping task": ({TASK: "hourly", "Sales/m_orders": "nightly"}, IdmcNotFoundError, "Sales/m_orders"),
    "no name": ({TASK: "hourly", "Support/mt_tickets": None}, IdmcInputError, "Support/mt_tickets"),
    "no mapping": ([TASK], IdmcInputError, "schedules must be a mapping"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_slip_in_one_name_changes_nothing(promotion, run, how):
    given, error, words = BAD[how]
    with pytest.raises(AirflowFailException, match=words) as raised:
        run(link(given))
    assert isinstance(raised.value.__cause__, error)
    assert schedules(promotion) == {TASK: "nightly"}


def test_a_task_that_somebody_has_checked_out(promotion, run):
    promotion.sim.edit_asset("test", TASK, "MTT", checked_out_by="carla")
    with pytest.raises(AirflowFailException):
        run(link({TASK: "hourly"}))
    assert schedules(promotion) == {TASK: "nightly"}


@pytest.mark.parametrize("how", ["rollback", "by hand"])
def test_what_was_rolled_back_is_not_linked(promotion, package, run, tmp_path, how):
    plan = planned(promotion, package, schedules={TASK: "hourly", "Sales/Staging/mt load customers": "hourly"})
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    store = f"file://{tmp_path}/backup"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    job_id = promotion.carry_out(package, plan)
    given = {"plan": plan, "backup_uri": backup, "import_job_id": job_id}
    assert [row["linked"] for row in run(link(**given))] == [True, True]
    more = {"import_job_id": job_id, "rollback": True} if how == "rollback" else {}
    run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, **more, **arguments))
    before = promotion.sim.state("test")
    # The task is cleared: the tasks that it would link are there, but not as they were imported.
    with pytest.raises(AirflowFailException, match=f"{job_id} was rolled back .* from plan on") as error:
        run(link(**given))
    assert isinstance(error.value.__cause__, IdmcVerificationError)
    assert promotion.sim.state("test") == before
    assert schedules(promotion)[TASK] == "nightly"


def test_a_backup_without_its_import(run):
    with pytest.raises(AirflowFailException, match="import_job_id is missing") as error:
        run(link({TASK: "hourly"}, backup_uri="s3://b/1", import_job_id="None"))
    assert isinstance(error.value.__cause__, IdmcInputError)


def test_a_retry_after_an_outage_links_the_rest(promotion, run):
    wanted = {TASK: "hourly", "Support/mt_tickets": "hourly"}
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "POST", "path": "/mttask/"})
    with pytest.raises(IdmcUnavailableError) as error:
        run(link(wanted))
    assert not isinstance(error.value, AirflowFailException)
    promotion.sim.clear_faults()
    run(link(wanted))
    assert schedules(promotion) == wanted
