"""A person decides about a plan. Needs Airflow 3.1 or newer and its standard provider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from airflow_provider_infa import arguments
from airflow_provider_infa.idmc.approval import approval_of
from airflow_provider_infa.idmc.errors import IdmcApprovalError
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.waiting import failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: How a form names its plan, at its end. No name of an asset can pose as this: backticks in names are escaped.
_NAMED = re.compile(r"Plan `([0-9a-f]{64})`")


class InfaApprovePlanOperator(ApprovalOperator):
    """
    Have a person approve or reject a plan in the Airflow UI.

    The form shows the plan. What is approved is that plan and no other: its hash is part of the answer, and
    :class:`~airflow_provider_infa.operators.imports.InfaStartImportOperator` refuses another one. A rejection skips
    this task and what follows.

    A run has one form for one plan, because Airflow never changes the text of a form. If the run is cleared and plans
    something else, this task fails instead of asking: another plan needs a new run.

    :param plan: The plan: ``plan.output``.
    :param subject: Headline of the form; by default it names the org and the number of objects.
    :param body: Text of the form in Markdown, to which the plan's hash is added; by default the plan. Further arguments
        are those of Airflow's own ``ApprovalOperator``, for example ``response_timeout``, ``assigned_users`` and
        ``notifiers``. When nobody has decided by the response timeout and ``defaults`` does not, the task fails for
        good.
    :return: ``{approved, plan_hash, by, at}``, also when the task is skipped.
    :raises IdmcApprovalError: If the form of this run shows another plan.
    """

    template_fields: Sequence[str] = ("plan", *ApprovalOperator.template_fields)
    template_fields_renderers = {"plan": "json", "body": "md"}

    def __init__(
        self, *, plan: Mapping[str, Any] | str, subject: str = "", body: str | None = None, **kwargs: Any
    ) -> None:
        for name in ("fail_on_reject", "ignore_downstream_trigger_rules"):
            if name in kwargs:
                raise ValueError(f"{name} has no meaning here: a rejection skips this task and what follows.")
        super().__init__(subject=subject, body=body, **kwargs)
        self.plan = plan

    def execute(self, context: Context) -> Any:
        with failing_for_good():
            plan = check_plan(arguments.mapping(self.plan, "plan"))
        self.subject = self.subject or f"Import {len(plan['objects'])} objects into {plan['target_org']['name']}?"
        self.body = f"{self.body}\n\nPlan `{plan['hash']}`." if self.body else markdown(plan)
        with failing_for_good():
            self._check_form(context, plan["hash"])
        # The plan task may be run again while somebody thinks about this one; the decision is about what was shown.
        context["ti"].xcom_push(key="plan_hash", value=plan["hash"])
        self.log.info("Waiting for a decision about plan %s.", plan["hash"])
        return super().execute(context)

    def _check_form(self, context: Context, plan_hash: str) -> None:
        """
        Refuse to ask about a plan that the form does not show.

        When a task runs again, Airflow keeps the form of its first run, and only removes the answer.
        """
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # exists while a task runs

        # What Airflow's operator sends as well, right after this; but that does not look at the form in the reply.
        stored = SUPERVISOR_COMMS.send(
            msg=CreateHITLDetailPayload(
                ti_id=context["ti"].id,
                options=self.options,
                subject=self.subject,
                body=self.body,
                defaults=self.defaults,
                multiple=self.multiple,
                params=self.serialized_params,
                assigned_users=self.assigned_users or [],  # type: ignore[arg-type]  # becomes a model by itself
            )
        )
        named = _NAMED.findall(getattr(stored, "body", None) or "")
        # Not word by word: a body of one's own may hold the time. And a reply without a text is no reason to go on.
        if named[-1:] != [plan_hash]:
            shown = f"plan {named[-1]}" if named else "no plan that could be read"
            raise IdmcApprovalError(
                f"Plan {plan_hash} can't be approved in this run: its form still shows {shown}, because Airflow keeps "
                "the first text of a run's form. Trigger a new run. Nothing of this plan was imported."
            )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the decision."""
        # Not ApprovalOperator's own: that skips every task right behind this one, also one that records the rejection.
        try:
            answer = HITLOperator.execute_complete(self, context, event)
        except HITLTimeoutError as error:
            # A retry would ask, and remind everybody, for as long again.
            raise AirflowFailException(
                "Nobody decided before the response timeout. Nothing was imported. Clear this task to ask again."
            ) from error
        ti = context["ti"]
        user = answer.get("responded_by_user") or {}
        at = answer.get("responded_at")
        decision = approval_of(
            plan_hash=ti.xcom_pull(task_ids=self.task_id, key="plan_hash", map_indexes=ti.map_index),
            by=user.get("name") or user.get("id") or "nobody: the response timeout decided",
            approved=answer["chosen_options"] == [self.APPROVE],
            at=at.isoformat() if hasattr(at, "isoformat") else at,
        )
        if decision["approved"]:
            self.log.info("Approved by %s: plan %s.", decision["by"], decision["plan_hash"])
            return decision
        ti.xcom_push(key="return_value", value=decision)
        raise AirflowSkipException(f"Rejected by {decision['by']}: nothing is imported.")
