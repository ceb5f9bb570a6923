"""Planning an import, uploading the package, starting the import."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcApprovalError, IdmcInputError, IdmcPackageError
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.plan_text import grouped, in_full, markdown
from airflow_provider_infa.idmc.planned import Plan, check_plan
from airflow_provider_infa.idmc.wishes import Wishes
from airflow_provider_infa.operators.backup import check_backup_of
from airflow_provider_infa.operators.jobs import RECOMMENDED_OBJECTS, InfaJobOperator
from airflow_provider_infa.storage import local_package
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class InfaPlanImportOperator(Stoppable, BaseOperator):
    """
    Tell what an import would do to the target org, and make the specification that does exactly that.

    Changes nothing. The package is named by ``package_uri``, or by ``source_conn_id`` and ``export_job_id``.

    :param package_uri: Where the package is stored.
    :param source_conn_id: Connection of the org that exported the package: to take it from there, and to name what the
        package refers to without holding it.
    :param export_job_id: The export job there, instead of ``package_uri``.
    :param manifest: Release manifest, a YAML file: a path, or any URI that Airflow's object storage takes. What is
        given as an argument as well wins over it.
    :param default_conflict_resolution: For assets that exist in the target: ``OVERWRITE``, the default, or ``REUSE``.
    :param conflict_resolutions: Exceptions: id in the package, path or type code, to ``OVERWRITE``, ``REUSE`` or
        an object with any fields of IDMC's ``objectSpecification``.
    :param include_objects: Import only these: ids in the package, paths, or rows. Everything by default.
    :param runtime_environments: Name in the source org to name in the target org.
    :param connections: Name in the source org to name in the target org; connector type and version must be the same.
    :param projects: Project or folder path in the source org to that in the target org.
    :param schedules: Path of a mapping task in the target org to the schedule that it shall get after the import, by
        :class:`~airflow_provider_infa.operators.schedules.InfaLinkScheduleOperator`.
    :param on_drift: What to do about assets that would be overwritten, and that somebody else than the promoting user
        changed last: ``show`` them in the plan, or ``block``.
    :param on_blocked: What to do if something is in the way: ``fail``, with everything that is and the arguments that
        would help; ``skip`` the task, and so what follows; or ``warn``, and return the plan all the same.
    :param relax_checksum: Accept a package that was changed after the export.
    :param infa_conn_id: Airflow connection of the target org.
    :return: The plan, as ``docs/plan.md`` describes it. XComs ``import_specification``, ``package_sha256`` and ``hash``
        hold these by themselves, so that ``plan.output["import_specification"]`` is what it reads like; ``markdown``
        describes the plan for people.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "package_uri",
        "source_conn_id",
        "export_job_id",
        "default_conflict_resolution",
        "conflict_resolutions",
        "include_objects",
        "runtime_environments",
        "connections",
        "projects",
        "manifest",
        "schedules",
        "on_drift",
        "on_blocked",
        "relax_checksum",
    )
    template_fields_renderers = {
        "conflict_resolutions": "json",
        "include_objects": "json",
        "runtime_environments": "json",
        "connections": "json",
        "projects": "json",
        "schedules": "json",
    }

    def __init__(
        self,
        *,
        package_uri: str | None = None,
        source_conn_id: str | None = None,
        export_job_id: str | None = None,
        manifest: str | None = None,
        default_conflict_resolution: str | None = None,
        conflict_resolutions: Mapping[str, Any] | str | None = None,
        include_objects: Sequence[Any] | str | None = None,
        runtime_environments: Mapping[str, str] | str | None = None,
        connections: Mapping[str, str] | str | None = None,
        projects: Mapping[str, str] | str | None = None,
        schedules: Mapping[str, str] | str | None = None,
        on_drift: str = "show",
        on_blocked: str = "fail",
        relax_checksum: bool | str = False,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.package_uri = package_uri
        self.source_conn_id = source_conn_id
        self.export_job_id = export_job_id
        self.manifest = manifest
        self.default_conflict_resolution = default_conflict_resolution
        self.conflict_resolutions = conflict_resolutions
        self.include_objects = include_objects
        self.runtime_environments = runtime_environments
        self.connections = connections
        self.projects = projects
        self.schedules = schedules
        self.on_drift = on_drift
        self.on_blocked = on_blocked
        self.relax_checksum = relax_checksum

    def execute(self, context: Context) -> dict[str, Any]:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            on_blocked = arguments.choice(self.on_blocked, "on_blocked", ("fail", "skip", "warn"))
            wishes = self._wishes(hook)
            with _package_of(self) as (path, source):
                package = read_package(path, relax_checksum=arguments.flag(self.relax_checksum, "relax_checksum"))
                plan = plan_import(hook.get_conn(), package, wishes, source=source.get_conn() if source else None)
            result = plan.to_json()
            self._show(plan, result)
            self._push(context, result)
            if plan.blocked and on_blocked == "skip":
                raise AirflowSkipException(f"{len(plan.blocked)} objects are blocked, nothing is promoted.")
            if on_blocked == "fail":
                plan.check()
        return result

    @staticmethod
    def _push(context: Context, result: Mapping[str, Any]) -> None:
        push = context["ti"].xcom_push
        # plan.output["..."] in a DAG means the XCom of that key, not a member of the returned value.
        push(key="import_specification", value=result["import_specification"])
        push(key="package_sha256", value=result["package"]["sha256"])
        push(key="hash", value=result["hash"])
        push(key="markdown", value=markdown(result))
        # Before the verdict, so that a plan that is blocked can be looked at and recorded as well.
        push(key="return_value", value=result)

    def _wishes(self, hook: InfaHook) -> Wishes:
        """What the arguments say, and the manifest where they say nothing."""
        release = arguments.release(self.manifest)
        login = hook.get_conn().login()
        target = release.target(login.org_name, login.org_id)
        included = arguments.objects(self.include_objects, "include_objects")
        if not included and arguments.text(self.include_objects):
            raise IdmcInputError("include_objects is an empty list; without the argument everything is imported.")
        return Wishes(
            default_conflict_resolution=(
                arguments.text(self.default_conflict_resolution) or release.default_conflict_resolution
            ),
            conflict_resolutions=(
                release.conflict_resolutions | arguments.mapping(self.conflict_resolutions, "conflict_resolutions")
            ),
            include_objects=included,
            runtime_environments=(
                target.runtime_environments | arguments.names(self.runtime_environments, "runtime_environments")
            ),
            connections=target.connections | arguments.names(self.connections, "connections"),
            projects=target.projects | arguments.names(self.projects, "projects"),
            schedules=target.schedules | arguments.names(self.schedules, "schedules"),
            block_on_drift=arguments.choice(self.on_drift, "on_drift", ("show", "block")) == "block",
        )

    def _show(self, plan: Plan, result: Mapping[str, Any]) -> None:
        counts = ", ".join(f"{len(rows)} {heading.lower()}" for heading, rows in grouped(result).items() if rows)
        self.log.info("Import of %d objects into org %s: %s.", len(plan.objects), plan.org_name, counts)
        if len(plan.objects) > RECOMMENDED_OBJECTS:
            self.log.warning("Informatica recommends at most %d objects in one import.", RECOMMENDED_OBJECTS)
        for warning in plan.warnings:
            self.log.info("%s", warning)
        # What the form cuts short refers to this.
        for heading, lines in in_full(result):
            self.log.info("::group::%s (%d)", heading, len(lines))
            for line in lines:
                self.log.info("%s", line)
            self.log.info("::endgroup::")


class InfaUploadPackageOperator(Stoppable, BaseOperator):
    """
    Verify a package and upload it to the target org, where it becomes an import job that waits to be started.

    Nothing in the org changes yet, so a retry does no harm. The package is named by ``package_uri``, or by
    ``source_conn_id`` and ``export_job_id``.

    :param package_uri: Where the package is stored.
    :param source_conn_id: Connection of the org that exported the package, to take it from there.
    :param export_job_id: The export job there.
    :param package_sha256: Refuse any other package, for example than the one that was planned:
        ``plan.output["package_sha256"]``.
    :param relax_checksum: Accept a package that was changed after the export, and have IDMC accept it.
    :param infa_conn_id: Airflow connection of the target org.
    :return: Import job id. XCom ``package_sha256`` tells which package it holds.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "package_uri",
        "source_conn_id",
        "export_job_id",
        "package_sha256",
        "relax_checksum",
    )

    def __init__(
        self,
        *,
        package_uri: str | None = None,
        source_conn_id: str | None = None,
        export_job_id: str | None = None,
        package_sha256: str | None = None,
        relax_checksum: bool | str = False,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.package_uri = package_uri
        self.source_conn_id = source_conn_id
        self.export_job_id = export_job_id
        self.package_sha256 = package_sha256
        self.relax_checksum = relax_checksum

    def execute(self, context: Context) -> str:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook, _package_of(self) as (path, _):
            relax = arguments.flag(self.relax_checksum, "relax_checksum")
            package = read_package(path, relax_checksum=relax)
            wanted = arguments.text(self.package_sha256)
            if wanted and wanted.lower() != package.sha256:
                raise IdmcPackageError(
                    f"Package {path.name} is not the planned one: its SHA-256 is {package.sha256}, not {wanted}."
                )
            job_id = hook.upload_import_package(package, relax_checksum=relax)
            self.log.info(
                "Uploaded %d objects, %d bytes, to org %s: import job %s waits to be started.",
                len(package.objects),
                package.size,
                hook.org_name,
                job_id,
            )
        context["ti"].xcom_push(key="package_sha256", value=package.sha256)
        return job_id


class InfaStartImportOperator(InfaJobOperator):
    """
    Start an import job, once.

    The job's state is asked for first: a retry, or a second task for the same job, attaches to what is already running
    or finished, unless that was started for another plan. To import again on purpose, clear from the plan on.

    ``plan``, ``approval``, ``package_sha256`` and ``backup_uri`` must not come to nothing where a DAG gives them; of a
    mapped task, an element that is None counts as not given.

    :param import_job_id: Import job id, from the upload.
    :param name: Name of the job in IDMC; by default made of DAG and run. With a plan, the beginning of its hash is
        added, by which the tasks behind it know what the job was started for.
    :param plan: The plan to carry out: ``plan.output``. Right before the start it is made sure that the target org
        still is what the plan assumed; if not, nothing is started and the differences are shown.
    :param approval: What was decided about the plan: ``approve.output``. Necessary if the connection is protected.
    :param package_sha256: Start nothing unless this is the package of the plan: ``upload.output["package_sha256"]``.
        After a task was cleared alone, what was uploaded may belong to another plan.
    :param backup_uri: Start nothing unless what the plan overwrites is in this backup, and that was made for this plan:
        ``backup.output``.
    :param import_specification: IDMC's ``importSpecification``, instead of a plan. Without either, everything in the
        package is imported by IDMC's default rules.
    :param wait_for_completion: Wait until the job has ended, and fail if it failed.
    :param poll_interval: Seconds between two looks once the job has run for a while; 10 by default.
    :param timeout: Seconds to wait at most; an hour by default.
    :param fail_on_warning: Whether a job that ended with a warning failed; True by default.
    :param fail_on_failure: Whether a failed job fails the task; False leaves the verdict to a sensor that follows.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the target org.
    :return: Import job id. After waiting, XCom ``result`` holds the job's summary, ``objects`` a row for each object,
        unless the verdict is left to a sensor.
    """

    kind = JobKind.IMPORT
    template_fields: Sequence[str] = (
        "import_job_id",
        "import_specification",
        "plan",
        "approval",
        "package_sha256",
        "backup_uri",
        "fail_on_failure",
        *InfaJobOperator.template_fields,
    )
    template_fields_renderers = {"import_specification": "json", "plan": "json", "approval": "json"}

    def __init__(
        self,
        *,
        import_job_id: str,
        import_specification: Mapping[str, Any] | str | None = None,
        plan: Mapping[str, Any] | str | None = None,
        approval: Mapping[str, Any] | str | None = None,
        package_sha256: str | None = None,
        backup_uri: str | None = None,
        wait_for_completion: bool | str = False,
        fail_on_failure: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_completion=wait_for_completion, **kwargs)
        self.import_job_id = import_job_id
        self.import_specification = import_specification
        self.plan = plan
        self.approval = approval
        self.package_sha256 = package_sha256
        self.backup_uri = backup_uri
        # These must not turn out to be nothing: the import would be started unchecked.
        self._given = arguments.given(
            plan=plan, approval=approval, package_sha256=package_sha256, backup_uri=backup_uri
        )
        self.fail_on_failure = fail_on_failure

    def start(self, context: Context, hook: InfaHook, name: str) -> str:
        specification = arguments.mapping(self.import_specification, "import_specification")
        plan = arguments.mapping(self.plan, "plan")
        arguments.flag(self.fail_on_failure, "fail_on_failure")
        approval = arguments.mapping(self.approval, "approval")
        for what, value, error in (("plan", plan, IdmcInputError), ("approval", approval, IdmcApprovalError)):
            if what in self._given and not value:
                raise error(
                    f"The {what} is empty: the task that makes it did not run, or was marked as successful by hand. "
                    "Nothing was imported."
                )
        if plan and specification:
            raise IdmcInputError("plan and import_specification exclude each other: the plan holds its own.")
        self._check_package(plan)
        shown = plan.get("import_specification") if plan else specification
        self.log.info("importSpecification: %s", json.dumps(shown, ensure_ascii=False))
        job = hook.start_import(
            arguments.text(self.import_job_id) or "",
            name=name,
            import_specification=specification or None,
            plan=plan or None,
            approval=approval or None,
            before=lambda: self._check_backup(plan),
        )
        self.log.info("Import job %s in org %s is %s.", job.id, hook.org_name, job.word)
        return job.id

    def _check_package(self, plan: dict[str, Any]) -> None:
        """What was uploaded must be the package of the plan."""
        parts = self._given & {"package_sha256", "backup_uri"}
        if parts and not plan:
            raise IdmcInputError(f"{' and '.join(sorted(parts))} can only be compared with a plan: give plan as well.")
        if "package_sha256" not in parts:
            return
        planned = check_plan(plan)["package"]["sha256"]
        uploaded = (arguments.text(self.package_sha256) or "").lower()
        if uploaded != planned:
            raise IdmcPackageError(
                f"Import job {self.import_job_id} holds another package than the planned one: its SHA-256 is "
                f"{uploaded or 'not known'}, not {planned}. Clear from the plan on."
            )

    def _check_backup(self, plan: dict[str, Any]) -> None:
        """What was saved must be what the plan overwrites. A job that runs already is attached to without it."""
        if "backup_uri" in self._given:
            check_backup_of(plan, arguments.text(self.backup_uri))

    def finish(self, context: Context, hook: InfaHook, job_id: str) -> Any:
        if not arguments.flag(self.fail_on_failure, "fail_on_failure"):
            return job_id
        return super().finish(context, hook, job_id)


@contextmanager
def _package_of(
    operator: InfaPlanImportOperator | InfaUploadPackageOperator,
) -> Iterator[tuple[Path, InfaHook | None]]:
    """The package as a local file, and the org that exported it, if the arguments name that."""
    source_conn_id = arguments.text(operator.source_conn_id)
    with ExitStack() as stack:
        source = stack.enter_context(InfaHook(source_conn_id)) if source_conn_id else None
        package = local_package(arguments.text(operator.package_uri), source, arguments.text(operator.export_job_id))
        yield stack.enter_context(package), source
