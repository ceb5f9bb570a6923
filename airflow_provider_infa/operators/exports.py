"""Exporting assets and fetching the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.jobs import JobKind
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.storage import publish, temporary_file
from airflow_provider_infa.waiting import conclude, failing_for_good, job_of_event, say_not_cancelled, wait_for_job

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Objects in one export or import that Informatica recommends at most (page "Exporting objects").
RECOMMENDED_OBJECTS = 1000


class InfaExportOperator(BaseOperator):
    """
    Export objects into a package.

    A retry starts another export; the worst that can come of it is a second package that nobody uses.

    :param objects: Ids, rows as :class:`~airflow_provider_infa.operators.objects.InfaListObjectsOperator` returns them,
        or the URI that it returns.
    :param name: Name of the job in IDMC; by default made of DAG and run.
    :param include_dependencies: Also export what the objects need to work: containers, connections, mappings.
    :param include_tags: Also export tags; without, they are lost on the way.
    :param on_empty: What to do if there are no objects: ``skip`` the task, and so what follows, or ``succeed``,
        which returns None. No export is started either way.
    :param wait_for_completion: Wait until the job has ended, and fail if it failed.
    :param poll_interval: Seconds between two looks once the job has run for a while.
    :param timeout: Seconds to wait at most.
    :param fail_on_warning: Whether a job that ended with a warning failed.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the source org.
    :return: Export job id. XCom ``result`` holds the job's summary and ``objects`` a row for each object.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "objects",
        "name",
        "include_dependencies",
        "include_tags",
        "on_empty",
        "wait_for_completion",
        "poll_interval",
        "timeout",
        "fail_on_warning",
    )
    template_fields_renderers = {"objects": "json"}

    def __init__(
        self,
        *,
        objects: Sequence[Any] | str,
        name: str | None = None,
        include_dependencies: bool | str = True,
        include_tags: bool | str = True,
        on_empty: str = "skip",
        wait_for_completion: bool | str = True,
        poll_interval: float | str = 10.0,
        timeout: float | str = 3600.0,
        fail_on_warning: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.objects = objects
        self.name = name
        self.include_dependencies = include_dependencies
        self.include_tags = include_tags
        self.on_empty = on_empty
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.fail_on_warning = fail_on_warning
        self.deferrable = deferrable
        self._job_id: str | None = None

    def execute(self, context: Context) -> str | None:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            on_empty = arguments.choice(self.on_empty, "on_empty", ("skip", "succeed"))
            poll_interval = arguments.seconds(self.poll_interval, "poll_interval")
            timeout = arguments.seconds(self.timeout, "timeout")
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
            job = hook.start_export(
                ids,
                name=arguments.text(self.name) or job_name(context),
                include_dependencies=arguments.flag(self.include_dependencies, "include_dependencies"),
                include_tags=arguments.flag(self.include_tags, "include_tags"),
            )
            self._job_id = job.id
            self.log.info("Started export job %s of %d objects in org %s.", job.id, len(ids), hook.org_name)
            if not arguments.flag(self.wait_for_completion, "wait_for_completion"):
                return job.id
            wait_for_job(
                self,
                hook,
                JobKind.EXPORT,
                job.id,
                poll_interval=poll_interval,
                timeout=timeout,
                deferrable=self.deferrable,
            )
            return self._conclude(context, hook, job.id)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Go on after the deferral."""
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            return self._conclude(context, hook, job_of_event(event, JobKind.EXPORT))

    def on_kill(self) -> None:
        """Cancels nothing: IDMC has no call for it."""
        say_not_cancelled(JobKind.EXPORT, self._job_id)

    def _conclude(self, context: Context, hook: InfaHook, job_id: str) -> str:
        warning = arguments.flag(self.fail_on_warning, "fail_on_warning")
        summary = conclude(context, hook, JobKind.EXPORT, job_id, fail_on_warning=warning)
        context["ti"].xcom_push(key="result", value=summary)
        return job_id


class InfaDownloadPackageOperator(BaseOperator):
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


def job_name(context: Context) -> str:
    """Name for a job in IDMC that leads back to the run: DAG and run id, in characters that no file system minds."""
    return re.sub(r"[^\w.-]+", "-", f"{context['dag'].dag_id}-{context['run_id']}")[:120]


def _ids(hook: InfaHook, objects: list[dict[str, Any] | str]) -> list[str]:
    """Ids of the objects; rows without one are looked up, all in one go."""
    rows = [{"id": o} if isinstance(o, str) else o for o in objects]
    if missing := [row for row in rows if not row.get("id")]:
        for row, asset in zip(missing, hook.lookup(missing), strict=True):
            row["id"] = asset.id if asset else ""
    return list(dict.fromkeys(str(row["id"]) for row in rows))
