"""Whether what is to be imported is what was approved."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_infa.idmc.approval import AUTOMATIC, approval_of, check_approval
from airflow_provider_infa.idmc.errors import IdmcApprovalError, IdmcInputError

from .idmc_plans import plan_of, row

PLAN = plan_of(row("Sales/mt"))
OTHER = plan_of(row("Sales/mt"), import_specification={"defaultConflictResolution": "REUSE"})


def test_what_was_approved() -> None:
    check_approval(PLAN, approval_of(PLAN["hash"], "anna", at="2026-03-01T13:37:00Z"), "ACME_PROD")
    check_approval(PLAN, approval_of(PLAN["hash"], AUTOMATIC), "ACME_PROD")


@pytest.mark.parametrize("nothing", [None, {}])
def test_nothing_was_approved(nothing: Any) -> None:
    with pytest.raises(IdmcApprovalError, match=r"ACME_PROD is protected.*promote\(\) with approval.*Nothing was imp"):
        check_approval(PLAN, nothing, "ACME_PROD")


def test_it_was_rejected() -> None:
    with pytest.raises(IdmcApprovalError, match=r"rejected by anna\. Nothing was imported"):
        check_approval(PLAN, approval_of(PLAN["hash"], "anna", approved=False), "ACME_PROD")


@pytest.mark.parametrize("value", ["false", "False", "no", "true", 1, 0, "", None, [False], {"approved": False}])
def test_only_true_is_a_yes(value: Any) -> None:
    """What passed through a template is a text, and any text is true."""
    approval = approval_of(PLAN["hash"], "anna") | {"approved": value}
    with pytest.raises(IdmcApprovalError, match="rejected by anna"):
        check_approval(PLAN, approval, "ACME_PROD")


def test_an_approval_that_does_not_say_what_was_decided() -> None:
    with pytest.raises(IdmcApprovalError):
        check_approval(PLAN, {"plan_hash": PLAN["hash"], "by": "anna"}, "ACME_PROD")


def test_another_plan_was_approved() -> None:
    with pytest.raises(IdmcApprovalError) as caught:
        check_approval(OTHER, approval_of(PLAN["hash"], "anna"), "ACME_PROD")
    assert PLAN["hash"] in str(caught.value)
    assert OTHER["hash"] in str(caught.value)
    assert "anna approved" in str(caught.value)


@pytest.mark.parametrize("wrong", [None, "", PLAN["hash"][:12], PLAN["hash"].upper(), [PLAN["hash"]]])
def test_a_hash_is_whole_or_none(wrong: Any) -> None:
    with pytest.raises(IdmcApprovalError, match="Have this one approved"):
        check_approval(PLAN, approval_of(wrong, "anna"), "ACME_PROD")


def test_an_approval_without_a_plan() -> None:
    with pytest.raises(IdmcApprovalError, match="set plan as well"):
        check_approval(None, approval_of(PLAN["hash"], "anna"), "ACME_PROD")


@pytest.mark.parametrize("value", [True, "yes", ["approved"], {"approved": True}, {"state": "ok"}, 1])
def test_what_is_no_approval(value: Any) -> None:
    with pytest.raises(IdmcInputError, match="InfaApprovePlanOperator"):
        check_approval(PLAN, value, "ACME_PROD")
