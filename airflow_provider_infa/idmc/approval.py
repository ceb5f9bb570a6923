"""Whether what is to be imported is what was approved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcApprovalError, IdmcInputError

#: Stands for the approver where a DAG approves its own plans.
AUTOMATIC = "automatic"


def approval_of(plan_hash: str, by: str, *, approved: bool = True, at: str | None = None) -> dict[str, Any]:
    """
    An approval, or a rejection, as tasks hand it on.

    :param plan_hash: Hash of the plan that was decided about.
    :param by: Who decided.
    :param approved: What was decided.
    :param at: When, as ISO text.
    """
    return {"approved": approved, "plan_hash": plan_hash, "by": by, "at": at}


def check_approval(plan: Mapping[str, Any] | None, approval: Mapping[str, Any] | None, org: str) -> None:
    """
    Refuse what was not approved.

    :param plan: The plan that is to be carried out.
    :param approval: What :func:`approval_of` made.
    :param org: Name of the target org, for the message.
    :raises IdmcApprovalError: If there is no approval, or it is one of another plan.
    :raises IdmcInputError: If the approval is none.
    """
    if not approval:
        raise IdmcApprovalError(
            f"Org {org} is protected: an import into it needs an approved plan. Set plan and approval, or use "
            "promote() with approval. Nothing was imported."
        )
    if not isinstance(approval, Mapping) or "plan_hash" not in approval:
        raise IdmcInputError("approval must be what InfaApprovePlanOperator returns: approve.output.")
    if approval.get("approved") is not True:  # what passed through a template is a text, and any text is true
        raise IdmcApprovalError(f"The plan was rejected by {approval.get('by')}. Nothing was imported.")
    if plan is None:
        raise IdmcApprovalError("An approval is for a plan: set plan as well. Nothing was imported.")
    if approval["plan_hash"] != plan["hash"]:
        raise IdmcApprovalError(
            f"The plan that {approval.get('by')} approved is {approval['plan_hash']}, but the one to be carried out is "
            f"{plan['hash']}. Have this one approved, by a person in a new run. Nothing was imported."
        )
