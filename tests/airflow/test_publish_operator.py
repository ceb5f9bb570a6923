"""Publishing as a task."""

from __future__ import annotations

import json
import time

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcJobFailedError,
    IdmcTimeoutError,
    IdmcVerificationError,
)
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator

#: In the order in which they have to be published.
SERVICE = {
    "Service/sc_tickets": "AI_SERVICE_CONNECTOR",
    "Service/ac_tickets": "AI_CONNECTION",
    "Service/p_open_ticket": "PROCESS",
    "Service/g_open_ticket": "GUIDE",
    "Service/tf_open_tickets": "TASKFLOW",
}
ROWS = [{"path": path, "type": type} for path, type in SERVICE.items()]


def publish(**arguments):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaPublishOperator(task_id="publish", **arguments)


@pytest.fixture
def plan(promotion, tmp_path):
    """The plan of an import that brought everything to test."""
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package)
    promotion.carry_out(package, plan)
    assert published(promotion) == []
    return plan


def published(promotion):
    there = {asset["path"]: asset["published"] for asset in promotion.sim.assets("test")}
    return [path for path in SERVICE if there.get(path)]


def calls(promotion):
    """The paths of each call, in order."""
    return [call["body"]["data"]["attributes"]["assetPaths"] for call in promotion.calls("test", "POST", "/publish$")]


def asset_paths(*paths):
    return [f"Explore/{path}.{SERVICE[path]}.xml" for path in paths]


WAYS = {
    "plan": lambda plan: {"plan": plan},
    "plan as text": lambda plan: {"plan": json.dumps(plan)},
    "objects": lambda plan: {"objects": list(reversed(ROWS))},
    "objects as text": lambda plan: {"objects": str(ROWS), "plan": "None"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deferrable", [False, True])
def test_everything_is_published_in_its_order(promotion, run, plan, way, deferrable):
    promotion.end_jobs_after_two_looks()
    rows = run(publish(**WAYS[way](plan), deferrable=deferrable))
    # One call after the other, each waited for: a taskflow in a call of its own, and last.
    *cai, taskflow = SERVICE
    assert calls(promotion) == [asset_paths(*cai), asset_paths(taskflow)]
    assert len(run.deferrals) == 2 * deferrable
    assert published(promotion) == list(SERVICE)
    assert [(row["path"], row["type"]) for row in rows] == list(SERVICE.items())
    assert {row["state"] for row in rows} == {"SUCCESS"}
    assert run.xcom == {"assets": rows, "return_value": rows}
    assert promotion.open_sessions() == 0


def test_a_deferred_publication_is_carried_by_its_triggers(promotion, run, plan):
    promotion.end_jobs_after_two_looks()
    run(publish(plan=plan, deferrable=True, timeout=500))
    jobs = [[deferred.trigger.kind, deferred.trigger.job_id] for deferred in run.deferrals]
    assert [kind for kind, _ in jobs] == ["publish-cai", "publish"]
    # Nothing was published twice because somebody forgot that it was.
    assert [id for _, id in jobs] == [job["id"] for job in promotion.sim.jobs("test") if job["kind"] == "publish"]
    carried = [deferred.trigger.serialize()[1]["carry"] for deferred in run.deferrals]
    assert [event["carry"] for event in run.events] == carried
    assert [carry["jobs"] for carry in carried] == [jobs[:1], jobs]
    # The deadline is for all of them: the second wait does not begin anew.
    assert {carry["deadline"] for carry in carried} == {run.deferrals[0].trigger.deadline}
    assert carried[0]["deadline"] == pytest.approx(time.time() + 500, abs=60)


@pytest.mark.parametrize("event", [
    None, {}, {"status": "ended"}, {"status": "error", "job_id": "x", "message": "KeyError: 'x'"},
])  # fmt: skip
def test_an_event_that_is_none_of_ours_publishes_nothing(promotion, plan, context, event):
    with pytest.raises(RuntimeError):
        publish(plan=plan)().resume_execution("execute_complete", {"event": event}, context)
    assert calls(promotion) == []


def test_each_call_waits_for_the_one_before(promotion, run, plan):
    # The taskflow uses the process, so it can't be published while that is not.
    promotion.sim.change_settings("test", publish_seconds=0.4)
    run(publish(plan=plan))
    assert published(promotion) == list(SERVICE)


def test_only_what_the_import_brought_is_published(promotion, run, tmp_path):
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package, conflict_resolutions={"PROCESS": "REUSE", "AI_CONNECTION": "REUSE"})
    promotion.carry_out(package, plan)
    rows = run(publish(plan=plan))
    left = {"Service/p_open_ticket", "Service/ac_tickets"}
    assert [row["path"] for row in rows] == [path for path in SERVICE if path not in left]


def test_it_is_published_where_it_landed(promotion, run, tmp_path):
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package, projects={"Service": "Finance"})
    promotion.carry_out(package, plan)
    assert {row["path"] for row in run(publish(plan=plan))} == {path.replace("Service", "Finance") for path in SERVICE}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("state", ["WARNING", "ERROR", "FAILED"])
def test_one_failing_asset(promotion, run, plan, deferrable, state, logged):
    promotion.sim.change_settings("test", publish_partial_state=state)
    fault = {"kind": "fail_publish", "paths": ["Service/g_open_ticket"], "message": "The guide is a maze."}
    promotion.sim.add_fault("test", fault)
    promotion.end_jobs_after_two_looks()
    with pytest.raises(IdmcJobFailedError) as error:
        run(publish(plan=plan, deferrable=deferrable))
    # A retry may mend it and can do no harm.
    assert not isinstance(error.value, AirflowFailException)
    assert "1 of 5 assets were not published in org ACME_TEST" in str(error.value)
    assert "GUIDE Service/g_open_ticket: ERROR: The guide is a maze." in str(error.value)
    assert published(promotion) == [path for path in SERVICE if path != "Service/g_open_ticket"]
    states = {row["path"]: row["state"] for row in run.xcom["assets"]}
    assert states == {path: "ERROR" if path == "Service/g_open_ticket" else "SUCCESS" for path in SERVICE}
    # A failed task returns nothing, yet the record has to know.
    assert run.xcom["return_value"] == run.xcom["assets"]
    assert "The guide is a maze." in logged()
    promotion.sim.clear_faults()
    run(publish(plan=plan))
    assert published(promotion) == list(SERVICE)


def test_a_job_that_fails_as_a_whole(promotion, run, plan):
    promotion.sim.add_fault("test", {"kind": "fail_job", "message": "Out of order.", "times": 1})
    with pytest.raises(IdmcJobFailedError, match="5 of 5 assets") as error:
        run(publish(objects=ROWS))
    assert str(error.value).count("Out of order.") == 4


def test_an_asset_that_is_not_there(promotion, run, plan):
    with pytest.raises(IdmcJobFailedError, match="TASKFLOW Service/gone: NOT_FOUND: no message"):
        run(publish(objects=[{"path": "Service/gone", "type": "TASKFLOW"}]))


@pytest.mark.parametrize("how", ["rollback", "by hand"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_was_rolled_back_is_not_published(promotion, run, tmp_path, how, deferrable):
    package = promotion.package(tmp_path / "service.zip", "service-1")
    plan = promotion.plan(package)
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    store = f"file://{tmp_path}/backup"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    job_id = promotion.carry_out(package, plan)
    given = {"plan": plan, "backup_uri": backup, "import_job_id": job_id, "deferrable": deferrable}
    promotion.sim.add_fault("test", {"kind": "fail_publish", "paths": ["Service/g_open_ticket"]})
    with pytest.raises(IdmcJobFailedError):
        run(publish(**given))
    promotion.sim.clear_faults()
    more = {"import_job_id": job_id, "rollback": True} if how == "rollback" else {}
    run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, **more, **arguments))
    before, sent = promotion.sim.state("test"), calls(promotion)
    # The cause is mended and the task cleared: it would publish what was restored.
    with pytest.raises(AirflowFailException, match=f"{job_id} was rolled back .* from plan on") as error:
        run(publish(**given))
    assert isinstance(error.value.__cause__, IdmcVerificationError)
    assert promotion.sim.state("test") == before
    assert calls(promotion) == sent


@pytest.mark.parametrize("nothing", [{}, {"objects": []}, {"objects": "[]", "plan": ""}, "release-1"])
def test_nothing_to_publish(promotion, run, package, logged, nothing):
    if isinstance(nothing, str):
        # A plan with nothing for it to do.
        nothing = {"plan": promotion.plan(package, include_objects=["Sales/m_orders"])}
    assert run(publish(**nothing)) == []
    assert calls(promotion) == []
    assert run.xcom == {"assets": [], "return_value": []}
    assert "nothing to publish" in logged()


BAD = {
    "both": ({"objects": ROWS, "plan": "PLAN"}, "objects and plan exclude each other"),
    "no type": ({"objects": [{"path": "Service/p"}]}, "can't be published"),
    "no path": ({"objects": [{"id": "x", "type": "GUIDE"}]}, "a path and a type are needed"),
    "ids": ({"objects": ["0123456789abcdefABCDEF"]}, "rows with path and type, not '0123456789abcdefABCDEF'"),
    "a mapping": ({"objects": [{"path": "Sales/m_orders", "type": "DTEMPLATE"}]}, "DTEMPLATE 'Sales/m_orders' can't"),
    "no plan": ({"plan": {"x": 1}}, "InfaPlanImportOperator"),
    "timeout": ({"objects": ROWS, "timeout": "0"}, "timeout"),
    "poll_interval": ({"objects": ROWS, "poll_interval": "soon"}, "poll_interval"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_cannot_be_published_is_refused_before_anything_is(promotion, run, plan, how):
    arguments, words = BAD[how]
    given = {name: plan if value == "PLAN" else value for name, value in arguments.items()}
    with pytest.raises(AirflowFailException, match=words) as error:
        run(publish(**given))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert calls(promotion) == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_timeout_is_for_all_calls_together(promotion, run, plan, deferrable):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    with pytest.raises(IdmcTimeoutError) as error:
        run(publish(plan=plan, timeout=0.5, deferrable=deferrable))
    # A retry may find it faster.
    assert not isinstance(error.value, AirflowFailException)
    assert len(calls(promotion)) == 1


@pytest.mark.parametrize("kind", ["drop_after", "maintenance", "expire_session"])
def test_a_blip_during_the_call(promotion, run, plan, kind):
    promotion.sim.add_fault("test", {"kind": kind, "method": "POST", "path": "/publish$", "times": 1})
    run(publish(plan=plan))
    assert published(promotion) == list(SERVICE)
