"""A person decides about a plan. Needs Airflow 3.1; what older versions say is in test_approval_missing.py."""

from __future__ import annotations

import inspect
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult

from airflow_provider_infa.idmc.approval import check_approval
from airflow_provider_infa.idmc.errors import IdmcApprovalError, IdmcInputError
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.operators.approval import InfaApprovePlanOperator

try:
    from airflow.sdk.exceptions import TaskAwaitingInput

    WAITS = (TaskDeferred, TaskAwaitingInput)
except ImportError:  # before 3.3
    WAITS = (TaskDeferred,)

ADA = {"id": "7", "name": "ada"}
AT = datetime(2026, 3, 2, 9, 20, tzinfo=timezone.utc)


def approve(plan, **arguments):
    return InfaApprovePlanOperator(task_id="task", plan=plan, **arguments)


def answer(choice="Approve", by=ADA, **more):
    """What the trigger or, from 3.3 on, the API server hands to the task after somebody answered."""
    return {"chosen_options": [choice], "params_input": {}, "responded_at": AT, "responded_by_user": by, **more}


@pytest.fixture
def plan(promotion, package):
    return promotion.plan(package)


@pytest.fixture
def other(promotion, package, plan):
    """What is planned after somebody has worked in the target org."""
    promotion.sim.edit_asset("test", "Sales/m_orders", "DTEMPLATE", updated_by="carla")
    other = promotion.plan(package)
    assert other["hash"] != plan["hash"]
    return other


@pytest.fixture
def form(monkeypatch):
    """What is stored as the form that people see; as on the API server, it stays what it was first."""
    stored = {}

    def send(msg):
        assert type(msg) is CreateHITLDetailPayload
        if not stored:
            stored.update(msg.model_dump(exclude={"type"}))
        return HITLDetailRequestResult(**stored)

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    return stored


@pytest.fixture
def ask(form, context):
    """Run the task until it waits; returns the form."""

    def run(task):
        with pytest.raises(WAITS) as waits:
            task.execute(context)
        assert waits.value.method_name == "execute_complete"
        return form

    return run


def decide(plan, context, event, **arguments):
    """The answer comes to a new object, perhaps on another machine."""
    return approve(plan, **arguments).resume_execution("execute_complete", {"event": event}, context)


# --- the form ---------------------------------------------------------------------------------------------------------


def test_the_form_shows_the_plan(ask, context, plan):
    form = ask(approve(plan))
    assert form["subject"] == "Import 11 objects into ACME_TEST?"
    assert form["body"] == markdown(plan)
    assert plan["hash"] in form["body"]
    assert (form["options"], form["multiple"]) == (["Approve", "Reject"], False)
    assert form["ti_id"] == context["ti"].id
    assert form["defaults"] is None
    assert context["ti"].xcom == {"plan_hash": plan["hash"]}


@pytest.mark.parametrize("write", [json.dumps, str], ids=["json", "python"])
def test_a_plan_as_text(ask, plan, write):
    assert ask(approve(write(plan)))["body"] == markdown(plan)


def test_subject_and_body_of_ones_own(ask, plan):
    form = ask(approve(plan, subject="Release 7?", body="See the wiki."))
    assert (form["subject"], form["body"]) == ("Release 7?", f"See the wiki.\n\nPlan `{plan['hash']}`.")


def test_arguments_of_the_form(ask, plan):
    form = ask(approve(plan, defaults="Reject", response_timeout=timedelta(hours=1), assigned_users=[ADA]))
    assert (form["defaults"], form["assigned_users"]) == (["Reject"], [ADA])


@pytest.mark.parametrize("change", [{"hash": "0" * 64}, {"version": 2}, {"objects": []}])
def test_a_plan_that_is_none_is_shown_to_nobody(form, context, plan, change):
    with pytest.raises(AirflowFailException) as error:
        approve({**plan, **change}).execute(context)
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert form == {}


# --- a form that is there already -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bodies", [(None, None), ("Asked at 9:20.", "Asked at 9:25.")], ids=["plan", "own"])
def test_the_same_plan_is_asked_about_again(ask, context, plan, bodies):
    first, second = (ask(approve(plan, body=body))["body"] for body in bodies)
    assert first == second
    assert decide(plan, context, answer())["plan_hash"] == plan["hash"]


@pytest.mark.parametrize("body", [None, "See the wiki.", "Not Plan `{other}` but:"], ids=["plan", "own", "quoting"])
def test_another_plan_is_asked_about_in_no_form_of_this_run(ask, form, context, plan, other, body):
    arguments = {"body": body and body.format(other=other["hash"])}
    first = dict(ask(approve(plan, **arguments)))
    told = []
    with pytest.raises(AirflowFailException) as error:
        approve(other, **arguments, notifiers=[told.append]).execute(context)
    assert isinstance(error.value.__cause__, IdmcApprovalError)
    for part in (f"Plan {other['hash']}", f"still shows plan {plan['hash']}", "Trigger a new run"):
        assert part in str(error.value)
    assert (form, told) == (first, [])
    # Nor can the answer to the old form be taken for one about the new plan.
    assert context["ti"].xcom == {"plan_hash": plan["hash"]}


@pytest.mark.parametrize("text", [None, "", "Import it?", "Plan `{short}`"])
def test_a_form_that_names_no_plan_is_not_asked_about(form, context, plan, text):
    form |= {"ti_id": context["ti"].id, "options": ["Approve", "Reject"], "subject": "Import?"}
    form["body"] = text and text.format(short=plan["hash"][:12])
    with pytest.raises(AirflowFailException, match="shows no plan that could be read"):
        approve(plan).execute(context)


@pytest.mark.parametrize("reply", [None, SimpleNamespace(ok=True)], ids=["none", "other"])
def test_nobody_is_asked_if_airflow_does_not_tell_what_the_form_shows(monkeypatch, form, context, plan, reply):
    monkeypatch.setattr(task_runner.SUPERVISOR_COMMS, "send", lambda msg: reply)
    with pytest.raises(AirflowFailException, match="shows no plan that could be read"):
        approve(plan).execute(context)


def test_an_outage_of_airflow_is_left_to_the_retries(monkeypatch, form, context, plan):
    def send(msg):
        raise RuntimeError("API_SERVER_ERROR")

    monkeypatch.setattr(task_runner.SUPERVISOR_COMMS, "send", send)
    with pytest.raises(RuntimeError, match="API_SERVER_ERROR"):
        approve(plan).execute(context)


# --- decisions --------------------------------------------------------------------------------------------------------


def test_an_approval(ask, context, plan, logged):
    ask(approve(plan))
    decision = decide(plan, context, answer())
    assert decision == {"approved": True, "plan_hash": plan["hash"], "by": "ada", "at": "2026-03-02T09:20:00+00:00"}
    assert json.loads(json.dumps(decision)) == decision
    # What the start makes of it.
    check_approval(plan, decision, "ACME_TEST")
    assert f"Approved by ada: plan {plan['hash']}" in logged()


def test_a_rejection(ask, context, plan):
    ask(approve(plan))
    with pytest.raises(AirflowSkipException, match="Rejected by ada: nothing is imported"):
        decide(plan, context, answer("Reject"))
    # The record needs to know, although a skipped task returns nothing.
    decision = context["ti"].xcom["return_value"]
    assert decision == {"approved": False, "plan_hash": plan["hash"], "by": "ada", "at": "2026-03-02T09:20:00+00:00"}
    with pytest.raises(IdmcApprovalError, match="rejected by ada"):
        check_approval(plan, decision, "ACME_TEST")


def test_the_approval_is_of_the_plan_that_was_shown(ask, context, plan, other):
    ask(approve(plan))
    # Meanwhile the plan task is cleared, and its XCom is another plan when the answer comes.
    decision = decide(other, context, answer())
    assert decision["plan_hash"] == plan["hash"]
    with pytest.raises(IdmcApprovalError, match="Have this one approved"):
        check_approval(other, decision, "ACME_TEST")


def test_nobody_answers_in_time(ask, context, plan):
    ask(approve(plan, response_timeout=timedelta(seconds=1)))
    event = {"error": "The timeout has passed.", "error_type": "timeout"}
    # No retry, which would ask for as long again.
    with pytest.raises(AirflowFailException, match="Nobody decided before the response timeout"):
        decide(plan, context, event)
    assert "return_value" not in context["ti"].xcom


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
def test_the_timeout_decides(ask, context, plan, choice):
    # What is chosen by default when nobody answers has no user.
    arguments = {"defaults": choice, "response_timeout": timedelta(seconds=1)}
    ask(approve(plan, **arguments))
    event = answer(choice, None, timedout=True)
    if choice == "Approve":
        decision = decide(plan, context, event, **arguments)
    else:
        with pytest.raises(AirflowSkipException, match="nobody: the response timeout decided"):
            decide(plan, context, event, **arguments)
        decision = context["ti"].xcom["return_value"]
    assert (decision["approved"], decision["by"]) == (choice == "Approve", "nobody: the response timeout decided")


def test_a_user_without_a_name(ask, context, plan):
    ask(approve(plan))
    assert decide(plan, context, answer(by={"id": "7", "name": ""}))["by"] == "7"


def test_an_answer_that_is_none_of_the_choices(ask, context, plan):
    ask(approve(plan))
    with pytest.raises(ValueError, match="Perhaps"):
        decide(plan, context, answer("Perhaps"))
    assert "return_value" not in context["ti"].xcom


# --- the class --------------------------------------------------------------------------------------------------------


def test_template_fields_and_documentation():
    fields = InfaApprovePlanOperator.template_fields
    assert {"plan", "subject", "body"} <= set(fields)
    assert set(fields) >= set(ApprovalOperator.template_fields)
    ours = set(inspect.signature(InfaApprovePlanOperator.__init__).parameters) - {"self", "kwargs"}
    assert all(f":param {name}:" in InfaApprovePlanOperator.__doc__ for name in ours)
    given = {name: f"{{{{ params.{name} }}}}" for name in ("plan", "subject", "body")}
    made = InfaApprovePlanOperator(task_id="t", **given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize("name", ["fail_on_reject", "ignore_downstream_trigger_rules"])
def test_what_a_rejection_does_is_not_for_choice(plan, name):
    with pytest.raises(ValueError, match=f"{name} has no meaning here"):
        approve(plan, **{name: True})


def test_promote_passes_arguments_on():
    from airflow_provider_infa.promotion import promote

    with DAG("d", schedule=None) as dag:
        promote(
            "p",
            source_conn_id="infa_dev",
            target_conn_id="infa_test",
            objects=["x"],
            approval=True,
            approval_kwargs={"response_timeout": timedelta(hours=8), "assigned_users": [ADA], "subject": "Release 7?"},
        )
    task = dag.get_task("p.approve")
    assert type(task) is InfaApprovePlanOperator
    assert (task.response_timeout, task.assigned_users, task.subject) == (timedelta(hours=8), [ADA], "Release 7?")
    assert (task.upstream_task_ids, task.downstream_task_ids) == (
        {"p.plan"},
        {"p.upload", "p.start_import", "p.record"},
    )
    with pytest.raises(ValueError, match="options"), DAG("e", schedule=None):
        promote(
            "p",
            source_conn_id="infa_dev",
            target_conn_id="infa_test",
            objects=["x"],
            approval=True,
            approval_kwargs={"options": ["Approve"]},
        )
