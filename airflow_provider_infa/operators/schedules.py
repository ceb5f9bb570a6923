"""Linking tasks to schedules, which no export carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.models import plain_path
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.restored import check_import
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class InfaLinkScheduleOperator(Stoppable, BaseOperator):
    """
    Have mapping tasks run by schedules of their org; an import leaves them unscheduled.

    All tasks and schedules are found before the first one is linked, so that a slip in a name changes nothing. What is
    linked already stays as it is.

    :param schedules: Path of a mapping task to the name of a schedule, both in this org.
    :param plan: Instead of ``schedules``, the plan of an import: ``plan.output``. Links what that announced.
    :param backup_uri: The backup that was made before the import: if it has been restored since, the task fails and
        changes nothing.
    :param import_job_id: That import's job; needed with ``backup_uri``. Started for another plan, it fails the task.
    :param infa_conn_id: Airflow connection of the org.
    :return: A row for each task: ``path``, ``schedule`` and ``linked``, which is False if it was so before.
    """

    template_fields: Sequence[str] = ("infa_conn_id", "schedules", "plan", "backup_uri", "import_job_id")
    template_fields_renderers = {"schedules": "json", "plan": "json"}

    def __init__(
        self,
        *,
        schedules: Mapping[str, str] | str | None = None,
        plan: Mapping[str, Any] | str | None = None,
        backup_uri: str | None = None,
        import_job_id: str | None = None,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.schedules = schedules
        self.plan = plan
        self.backup_uri = backup_uri
        self.import_job_id = import_job_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            plan = arguments.mapping(self.plan, "plan")
            names = {plain_path(path): name for path, name in arguments.names(self.schedules, "schedules").items()}
            check_import(hook, plan, self.backup_uri, self.import_job_id)
            if plan:
                if names:
                    raise IdmcInputError("schedules and plan exclude each other.")
                names = check_plan(plan)["schedules"]
            return hook.link_schedules(names)
