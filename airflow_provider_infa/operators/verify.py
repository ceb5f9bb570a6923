"""Comparing the target org with the plan after an import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.idmc.verify import verify_import
from airflow_provider_infa.restored import check_import
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class InfaVerifyImportOperator(Stoppable, BaseOperator):
    """
    Make sure that the target org holds what the plan said, and find the new ids, which IDMC's own answer leaves out.

    Changes nothing. Every difference is named, and any fails the task.

    :param plan: The plan: ``plan.output``.
    :param import_job_id: The import job that carried it out; if it was started for another plan, the task fails.
    :param backup_uri: Its backup: if that has been restored since, there is nothing to verify, and the task fails.
    :param infa_conn_id: Airflow connection of the target org.
    :return: ``import_job_id``, ``plan_hash``, and ``objects`` with a row for each: ``path``, ``type``, ``action``,
        ``done``, ``source_id``, ``old_id`` and ``new_id``.
    """

    template_fields: Sequence[str] = ("infa_conn_id", "plan", "import_job_id", "backup_uri")
    template_fields_renderers = {"plan": "json"}

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | str,
        import_job_id: str,
        backup_uri: str | None = None,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.plan = plan
        self.import_job_id = import_job_id
        self.backup_uri = backup_uri

    def execute(self, context: Context) -> dict[str, Any]:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            plan = check_plan(arguments.mapping(self.plan, "plan"))
            check_import(hook, plan, self.backup_uri, self.import_job_id)
            job = hook.get_import(arguments.text(self.import_job_id) or "", expand=True)
            rows = verify_import(hook.get_conn(), plan, job)
            self.log.info("Org %s holds all %d objects as planned.", hook.org_name, len(rows))
        self.log.info("::group::Ids")
        for row in rows:
            self.log.info("%-10s %-12s %s %s", row["action"], row["type"], row["new_id"], row["path"])
        self.log.info("::endgroup::")
        return {"import_job_id": job.id, "plan_hash": plan["hash"], "objects": rows}
