"""The ready-made promotion: one task group that does all that a careful team does by hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException, TaskGroup

from airflow_provider_infa.idmc.approval import AUTOMATIC, approval_of
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.record import InfaRecordPromotionOperator
from airflow_provider_infa.operators.schedules import InfaLinkScheduleOperator
from airflow_provider_infa.operators.verify import InfaVerifyImportOperator
from airflow_provider_infa.pools import pool_name
from airflow_provider_infa.sensors.imports import InfaImportSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

#: So that a rollback is not overtaken by another promotion that waits for the same pool.
FIRST = 1000


def promote(
    group_id: str,
    *,
    target_conn_id: Any,
    source_conn_id: Any = None,
    objects: Any = None,
    manifest: str | None = None,
    package_uri: Any = None,
    runtime_environments: Any = None,
    connections: Any = None,
    projects: Any = None,
    default_conflict_resolution: str | None = None,
    conflict_resolutions: Any = None,
    include_objects: Any = None,
    include_dependencies: bool = True,
    include_tags: bool = True,
    on_drift: str = "show",
    approval: bool | str = False,
    approval_kwargs: Mapping[str, Any] | None = None,
    backup_uri: str | None = None,
    rollback: str | None = None,
    publish: bool = False,
    schedules: Any = None,
    audit_uri: str | None = None,
    pool: str | None = None,
    poll_interval: float = 10.0,
    timeout: float = 3600.0,
    fail_on_warning: bool = True,
    deferrable: bool | None = None,
) -> TaskGroup:
    """
    Promote a release from one org to another.

    Makes a task group with these tasks, each of which can be retried alone: ``list_objects`` for a manifest,
    ``export``, ``plan``, ``approve``, ``backup``, ``upload``, ``start_import``, ``wait``, ``publish``,
    ``link_schedules``, ``verify``, and, at the end of every run, ``restore``, which does nothing unless the promotion
    failed, and ``record``. Those that are not asked for are left out. Groups can be chained; what follows a group waits
    for ``verify``, and is skipped after a rejection or if there was nothing to promote. Imports into one org wait for
    each other, see ``pool``.

    Connections, objects, mappings, URIs, ``manifest`` and ``package_uri`` can be templates or outputs of other tasks.

    :param group_id: Id of the task group.
    :param target_conn_id: Airflow connection of the target org.
    :param source_conn_id: Airflow connection of the source org.
    :param objects: What to promote: ids, rows, or what the list operator returns.
    :param manifest: Release manifest, instead of ``objects`` and of the mappings; what is given here as well wins.
    :param package_uri: Promote this package instead of exporting one.
    :param runtime_environments: Name in the source org to name in the target org.
    :param connections: Name in the source org to name in the target org.
    :param projects: Project or folder path in the source org to that in the target org.
    :param default_conflict_resolution: For assets that exist in the target: ``OVERWRITE``, the default, or ``REUSE``.
    :param conflict_resolutions: Exceptions, by id in the package, path or type code.
    :param include_objects: Of the package, import only these.
    :param include_dependencies: Whether the export brings what the objects need.
    :param include_tags: Whether the export brings tags.
    :param on_drift: About assets that somebody else has changed in the target: ``show`` them, or ``block``.
    :param approval: True to have a person approve the plan in the Airflow UI, which needs Airflow 3.1; ``"automatic"``
        to have every plan approved by the DAG itself, which protected orgs need on older versions; False for neither.
    :param approval_kwargs: Further arguments of the approval task: ``response_timeout``, ``assigned_users``,
        ``notifiers``.
    :param backup_uri: Where to store what will be overwritten: any path that Airflow's object storage takes.
    :param rollback: ``"on_failure"`` to bring the backup back unless the import passes verification in the end. A DAG
        with ``dagrun_timeout`` is warned about: when that is over, Airflow runs no rollback any more.
    :param publish: Whether to publish taskflows and Application Integration assets after the import.
    :param schedules: Path of a mapping task to the name of its schedule, both in the target org; from the manifest
        as well.
    :param audit_uri: Where to store the audit record; ``backup_uri`` by default.
    :param pool: Airflow pool in which imports and rollbacks run; by default ``infa_promotions_<target_conn_id>``, which
        the scheduler makes with one slot when it does not exist. ``infa_promotions`` where the connection is not known
        when the DAG is parsed. Of other pools, only those are made whose name begins so.
    :param poll_interval: Seconds between two looks at a job that has run for a while.
    :param timeout: Seconds that each job may take.
    :param fail_on_warning: Whether an export or import that ends with a warning failed. One in which an object failed
        always did, as did a backup or rollback with a warning; ``verify`` compares the org with the plan either way.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :raises ValueError: For arguments that contradict each other.
    :raises AirflowOptionalProviderFeatureException: For ``approval=True`` on Airflow before 3.1.
    """
    _check(objects, manifest, package_uri, source_conn_id, approval, backup_uri, rollback)
    waiting: dict[str, Any] = {"poll_interval": poll_interval, "timeout": timeout}
    sensing: dict[str, Any] = {"poke_interval": poll_interval, "timeout": timeout, "fail_on_warning": fail_on_warning}
    if deferrable is not None:
        waiting["deferrable"] = sensing["deferrable"] = deferrable
    target = {"infa_conn_id": target_conn_id}
    is_known = isinstance(target_conn_id, str) and "{" not in target_conn_id
    alone = {"pool": pool or pool_name(target_conn_id if is_known else None)}

    # With Airflow's default rule, the weight of the rollback would add to that of every task before it.
    weights: Any = {"weight_rule": "absolute"}
    with TaskGroup(group_id, default_args=weights, tooltip="Promote a release to another org") as group:
        package: dict[str, Any] = {"package_uri": package_uri, "source_conn_id": source_conn_id}
        if package_uri is None:
            if objects is None:
                listed = InfaListObjectsOperator(task_id="list_objects", infa_conn_id=source_conn_id, manifest=manifest)
                objects = listed.output
            export = InfaExportOperator(
                task_id="export",
                infa_conn_id=source_conn_id,
                objects=objects,
                include_dependencies=include_dependencies,
                include_tags=include_tags,
                fail_on_warning=fail_on_warning,
                **waiting,
            )
            package = {"source_conn_id": source_conn_id, "export_job_id": export.output}
        plan = InfaPlanImportOperator(
            task_id="plan",
            **target,
            **package,
            manifest=manifest,
            default_conflict_resolution=default_conflict_resolution,
            conflict_resolutions=conflict_resolutions,
            include_objects=include_objects,
            runtime_environments=runtime_environments,
            connections=connections,
            projects=projects,
            schedules=schedules,
            on_drift=on_drift,
        )
        planned: Any = plan.output
        steps: list[BaseOperator] = [plan]
        decision: Any = None
        if approval is True:
            approve = _approval_operator()(task_id="approve", plan=planned, **(approval_kwargs or {}))
            steps.append(approve)
            decision = approve.output
        elif approval:
            decision = approval_of(planned["hash"], AUTOMATIC)
        backup: Any = None
        if backup_uri:
            saved = InfaBackupOperator(task_id="backup", **target, plan=planned, backup_uri=backup_uri, **waiting)
            steps.append(saved)
            backup = saved.output
        upload = InfaUploadPackageOperator(
            task_id="upload", **target, **package, package_sha256=planned["package_sha256"]
        )
        uploaded: Any = upload.output
        job_id = uploaded
        # Holds the pool until the import is over; how it went is for the next task to tell.
        start = InfaStartImportOperator(
            task_id="start_import",
            **target,
            import_job_id=job_id,
            plan=planned,
            approval=decision,
            package_sha256=uploaded["package_sha256"],
            backup_uri=backup,
            wait_for_completion=True,
            fail_on_failure=False,
            **waiting,
            **alone,
        )
        wait = InfaImportSensor(task_id="wait", **target, import_job_id=job_id, **sensing)
        steps += [upload, start, wait]
        # Each refuses an import of another plan, and one that was rolled back: cleared after that, it would change or
        # approve the restored org.
        imported: dict[str, Any] = {"plan": planned, "import_job_id": job_id, "backup_uri": backup}
        published: Any = None
        linked: Any = None
        if publish:
            publishing = InfaPublishOperator(task_id="publish", **target, **imported, **waiting)
            steps.append(publishing)
            published = publishing.output
        # After publishing, so that no schedule starts what is not published yet.
        if schedules is not None or manifest:
            linking = InfaLinkScheduleOperator(task_id="link_schedules", **target, **imported)
            steps.append(linking)
            linked = linking.output
        verify = InfaVerifyImportOperator(task_id="verify", **target, **imported)
        steps.append(verify)
        for before, after in pairwise(steps):
            before >> after

        restored: Any = None
        # Both run whatever happened, and are no leaves of the group: what follows it waits for verify alone.
        if rollback:
            restore = InfaRestoreOperator(
                task_id="restore",
                **target,
                backup_uri=backup,
                import_job_id=job_id,
                plan=planned,
                rollback=True,
                verified=verify.output,
                priority_weight=FIRST,
                **waiting,
                **alone,
            ).as_teardown()
            restored = restore.output
        record = InfaRecordPromotionOperator(
            task_id="record",
            **target,
            plan=planned,
            approval=decision if approval is True else {"approved": True, "by": AUTOMATIC} if approval else None,
            backup_uri=backup,
            import_job_id=job_id,
            published=published,
            linked=linked,
            verified=verify.output,
            restored=restored,
            audit_uri=audit_uri or backup_uri,
        )
        record.as_teardown()
    if rollback and group.dag and group.dag.dagrun_timeout:
        message = f"DAG {group.dag.dag_id!r}: after dagrun_timeout, Airflow runs neither the rollback nor the record."
        warnings.warn(f"{message} Use promote(timeout=...) instead.", UserWarning, stacklevel=2)
    return group


def _check(
    objects: Any,
    manifest: str | None,
    package_uri: Any,
    source_conn_id: Any,
    approval: bool | str,
    backup_uri: str | None,
    rollback: str | None,
) -> None:
    if package_uri is not None and objects is not None:
        raise ValueError("objects and package_uri exclude each other: a package is promoted as it is.")
    if package_uri is None and objects is None and not manifest:
        raise ValueError("There is nothing to promote: give objects, a manifest or a package_uri.")
    if package_uri is None and source_conn_id is None:
        raise ValueError("source_conn_id is missing: name the connection of the org to export from.")
    if not (isinstance(approval, bool) or approval == AUTOMATIC):
        raise ValueError(f"approval must be True, False or {AUTOMATIC!r}, not {approval!r}.")
    if rollback not in (None, "on_failure"):
        raise ValueError(f"rollback must be 'on_failure' or None, not {rollback!r}.")
    if rollback and not backup_uri:
        raise ValueError("rollback needs a backup: set backup_uri as well.")


def _approval_operator() -> Any:
    try:
        from airflow_provider_infa.operators.approval import InfaApprovePlanOperator
    except (ImportError, AirflowOptionalProviderFeatureException) as error:
        raise AirflowOptionalProviderFeatureException(
            "promote(approval=True) needs Airflow 3.1 or newer with apache-airflow-providers-standard, because a "
            f"person approves in the Airflow UI. Use approval={AUTOMATIC!r} or approval=False here. ({error})"
        ) from error
    return InfaApprovePlanOperator
