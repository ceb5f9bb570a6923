"""Exporting assets and fetching the package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.attaching import attach_or_start
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.operators.jobs import RECOMMENDED_OBJECTS, InfaJobOperator
from airflow_provider_infa.storage import publish, temporary_file
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


class InfaExportOperator(InfaJobOperator):
    """
    Export objects into a package.

    From Airflow 3.3 on, a retry goes on with the export that an earlier try started, unless that failed. Below, it
    starts another one; the worst that can come of it is a second package that nobody uses.

    :param objects: Ids, rows as :class:`~airflow_provider_infa.operators.objects.InfaListObjectsOperator` returns them,
        or the URI that it returns.
    :param name: Name of the job in IDMC; by default made of DAG and run.
    :param include_dependencies: Also export what the objects need to work: containers, connections, mappings.
    :param include_tags: Also export tags; without, they are lost on the way.
    :param on_empty: What to do if there are no objects: ``skip`` the task, and so what follows, or ``succeed``,
        which returns None. No export is started either way.
    :param wait_for_completion: Wait until the job has ended, and fail if it failed.
    :param poll_interval: Seconds between two looks once the job has run for a while; 10 by default.
    :param timeout: Seconds to wait at most; an hour by default.
    :param fail_on_warning: Whether a job that ended with a warning failed; True by default.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the source org.
    :return: Export job id. After waiting, XCom ``result`` holds the job's summary, ``objects`` a row for each object.
    """

    kind = JobKind.EXPORT
    retry_starts_another = True
    template_fields: Sequence[str] = (
        "objects",
        "include_dependencies",
        "include_tags",
        "on_empty",
        *InfaJobOperator.template_fields,
    )
    template_fields_renderers = {"objects": "json"}

    def __init__(
        self,
        *,
        objects: Sequence[Any] | str,
        include_dependencies: bool | str = True,
        include_tags: bool | str = True,
        on_empty: str = "skip",
        wait_for_completion: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_completion=wait_for_completion, **kwargs)
        self.objects = objects
        self.include_dependencies = include_dependencies
        self.include_tags = include_tags
        self.on_empty = on_empty

    def start(self, context: Context, hook: InfaHook, name: str) -> str | None:
        on_empty = arguments.choice(self.on_empty, "on_empty", ("skip", "succeed"))
        ids = _ids(hook, arguments.objects(self.objects, "objects"))
        if not ids:
            if on_empty == "skip":
                raise AirflowSkipException("Nothing to promote: there are no objects to export.")
            self.log.info("Nothing to promote: there are no objects to export, so no export is started.")
            return None
        if len(ids) > RECOMMENDED_OBJECTS:
            self.log.warning(
                "%d objects in one export; Informatica recommends at most %d. Split them with batch_size.",
                len(ids),
                RECOMMENDED_OBJECTS,
            )
        return export(
            context,
            hook,
            ids,
            name=name,
            include_dependencies=arguments.flag(self.include_dependencies, "include_dependencies"),
            include_tags=arguments.flag(self.include_tags, "include_tags"),
        )


class InfaDownloadPackageOperator(Stoppable, BaseOperator):
    """
    Fetch the package of a finished export, verify it, and store it.

    :param export_job_id: Export job id.
    :param package_uri: Where to store it: any path that Airflow's object storage takes. An existing file is replaced.
    :param infa_conn_id: Airflow connection of the org that exported.
    :return: ``package_uri``. XComs ``sha256`` and ``size`` describe the file.
    """

    template_fields: Sequence[str] = ("infa_conn_id", "export_job_id", "package_uri")

    def __init__(
        self,
        *,
        export_job_id: str,
        package_uri: str,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.export_job_id = export_job_id
        self.package_uri = package_uri

    def execute(self, context: Context) -> str:
        name = f"export-{self.export_job_id}.zip"
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook, temporary_file(name) as file:
            if not arguments.text(self.package_uri):
                raise IdmcInputError("package_uri is empty: name the file to store the package in.")
            download = hook.download_export_package(arguments.text(self.export_job_id) or "", file)
            package = read_package(file)
            publish(file, self.package_uri)
        self.log.info("Stored %s: %d objects, %d bytes.", self.package_uri, len(package.objects), download.size)
        context["ti"].xcom_push(key="sha256", value=download.sha256)
        context["ti"].xcom_push(key="size", value=download.size)
        return self.package_uri


def export(
    context: Context, hook: InfaHook, ids: Sequence[str], *, name: str, purpose: str | None = None, **options: bool
) -> str:
    """
    Start an export, or go on with the one that an earlier try of the task started.

    :param context: Of the task.
    :param hook: Hook of the org.
    :param ids: Ids of the objects.
    :param name: Name for the job.
    :param purpose: What else has to be the same for an earlier try's export to serve.
    :param options: As :func:`airflow_provider_infa.idmc.exports.start_export` takes them.
    :return: Id of the job.
    """

    def start() -> str:
        job = hook.start_export(ids, name=name, **options)
        log.info("Started export job %s of %d objects in org %s.", job.id, len(ids), hook.org_name)
        return job.id

    return attach_or_start(context, hook, JobKind.EXPORT, [list(ids), purpose, options], start)


def _ids(hook: InfaHook, objects: list[dict[str, Any] | str]) -> list[str]:
    """Ids of the objects; rows without one are looked up, all in one go."""
    rows = [{"id": o} if isinstance(o, str) else o for o in objects]
    if missing := [row for row in rows if not row.get("id")]:
        for row, asset in zip(missing, hook.lookup(missing), strict=True):
            row["id"] = asset.id if asset else ""
    return list(dict.fromkeys(str(row["id"]) for row in rows))
