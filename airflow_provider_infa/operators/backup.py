"""Saving what an import will overwrite, and bringing it back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc import backup as backups
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcPackageError, IdmcPlanOutdatedError, IdmcWrongOrgError
from airflow_provider_infa.idmc.imports import start_import, started_import
from airflow_provider_infa.idmc.jobs import wait
from airflow_provider_infa.idmc.models import SCHEDULABLE, Job, JobKind, same_type
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.idmc.planned import check_job, check_plan, job_name
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.operators.exports import export
from airflow_provider_infa.operators.jobs import InfaJobOperator
from airflow_provider_infa.operators.publish import after_publish_job, check_published, publish_all
from airflow_provider_infa.restored import last_restore
from airflow_provider_infa.storage import exists, join, local_copy, publish, read_text, temporary_file, write_text
from airflow_provider_infa.waiting import deadline_after

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class InfaBackupOperator(InfaJobOperator):
    """
    Export from the target org exactly what an import will overwrite, and store it.

    The backup is a folder of its own below ``backup_uri``, named after DAG, run and plan: another plan never replaces
    it. It holds ``package.zip`` and ``backup.json``, which also tells what no package carries: the schedules of mapping
    tasks, what is published, and what the import will create. A backup that is complete is never made again: after the
    import it would hold what that has left behind. Nor is one made of an org that is no longer what the plan assumed.

    :param plan: The plan of the import: ``plan.output``.
    :param backup_uri: Where to store backups: any path that Airflow's object storage takes.
    :param name: Name of the export job in IDMC; by default made of DAG and run.
    :param poll_interval: Seconds between two looks once the export has run for a while; 10 by default.
    :param timeout: Seconds to wait for it at most; an hour by default.
    :param fail_on_warning: Whether an export that ended with a warning failed; True by default.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the target org.
    :return: URI of the backup; None if nothing will be overwritten, so that there is nothing to save.
    """

    kind = JobKind.EXPORT
    retry_starts_another = True
    template_fields: Sequence[str] = ("plan", "backup_uri", *InfaJobOperator.template_fields)
    template_fields_renderers = {"plan": "json"}

    def __init__(self, *, plan: Mapping[str, Any] | str, backup_uri: str, **kwargs: Any) -> None:
        super().__init__(wait_for_completion=True, **kwargs)
        self.plan = plan
        self.backup_uri = backup_uri

    def execute(self, context: Context) -> Any:
        with self._failing():
            plan = check_plan(arguments.mapping(self.plan, "plan"))
            if not arguments.text(self.backup_uri):
                raise IdmcInputError("backup_uri is empty: name the place to store backups in.")
            uri = self._place(context, plan)
            if exists(join(uri, backups.MANIFEST)) and exists(join(uri, backups.PACKAGE)):
                read_backup(uri)
                self.log.info("The backup is stored already: %s", uri)
                return uri
        return super().execute(context)

    def start(self, context: Context, hook: InfaHook, name: str) -> str | None:
        plan = check_plan(arguments.mapping(self.plan, "plan"))
        check_target(hook.get_conn(), plan)
        ids = [row["target"]["id"] for row in plan["objects"] if row["overwrites"]]
        if not ids:
            self.log.info("The import will overwrite nothing in org %s, so there is no backup.", hook.org_name)
            return None
        # A retry after the plan was made anew must not go on with the export of what there was before.
        purpose, name = f"backup for {plan['hash']}", job_name(f"{name}-backup", plan)
        return export(context, hook, ids, name=name, purpose=purpose, include_dependencies=False, include_tags=True)

    def finish(self, context: Context, hook: InfaHook, job_id: str) -> str:
        plan = check_plan(arguments.mapping(self.plan, "plan"))
        # While the task was deferred it may have been made anew.
        check_job(plan["hash"], hook.get_export(job_id))
        super().finish(context, hook, job_id)
        uri = self._place(context, plan)
        with temporary_file(backups.PACKAGE) as file:
            hook.download_export_package(job_id, file)
            description = backups.describe(hook.get_conn(), plan, read_package(file))
            publish(file, join(uri, backups.PACKAGE))
        # Last, so that a backup with a description is complete.
        write_text(json.dumps(description, indent=1, ensure_ascii=False), join(uri, backups.MANIFEST))
        self.log.info("Stored the backup of %d objects: %s", len(description["objects"]), uri)
        return uri

    def _place(self, context: Context, plan: Mapping[str, Any]) -> str:
        return join(self.backup_uri, context["dag"].dag_id, context["run_id"], plan["hash"][:12])


class InfaRestoreOperator(InfaJobOperator):
    """
    Bring back what an import has overwritten, from the backup that was made before it.

    Imports the backup with OVERWRITE, waits, links mapping tasks to the schedules that they had, and publishes again
    what was published. What the import had newly created is not removed, as IDMC has no call to take an import back; it
    is reported, and whether it goes on running or being called. Tasks of other types lose their schedule, if they had
    one, and are reported as well. A retry imports the backup once more, which changes nothing.

    By hand, a backup URI is all that it needs, and all that it compares with: nothing. To undo an import, name that as
    well: one that still runs is waited for, on the worker, and an object that was changed since, by hand or by a later
    promotion, stops the restore. Not seen is a later promotion, by the same user, of nothing but assets that can be
    published or tasks that were linked to a schedule, as that is what the steps after an import change themselves.

    :param backup_uri: URI of the backup, as :class:`InfaBackupOperator` returned it; None if it had nothing to save,
        which ``plan`` has to confirm then.
    :param import_job_id: The import to undo.
    :param plan: Its plan, to report what it created where there is no backup, as nothing was overwritten.
    :param rollback: Whether this is the automatic rollback of a promotion. Then the task is skipped if the import was
        never started, or if ``verified`` says that it is well; and of one that is rolled back already it tells again.
    :param verified: What verifying the import returned.
    :param force: Restore also what was changed since the import; False by default.
    :param name: Name of the job in IDMC; by default made of DAG and run.
    :param poll_interval: Seconds between two looks once a job has run for a while; 10 by default.
    :param timeout: Seconds to wait at most for each job; an hour by default.
    :param fail_on_warning: Whether an import that ended with a warning failed; True by default.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the org.
    :return: ``{backup_uri, undone, plan_hash, import_job_id, restored, unscheduled, created, linked, published}``: the
        import that was undone, the one that did it, and rows of objects. ``unscheduled`` are restored tasks that may
        have lost their schedule, as it is in no backup; ``created`` is what the former had created and is still there,
        each with its ``schedule`` and whether it is ``published``.
    """

    kind = JobKind.IMPORT
    retry_starts_another = True
    template_fields: Sequence[str] = (
        "backup_uri",
        "import_job_id",
        "plan",
        "rollback",
        "verified",
        "force",
        *InfaJobOperator.template_fields,
    )
    template_fields_renderers = {"plan": "json", "verified": "json"}

    def __init__(
        self,
        *,
        backup_uri: str | None,
        import_job_id: str | None = None,
        plan: Mapping[str, Any] | str | None = None,
        rollback: bool | str = False,
        verified: Any = None,
        force: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_completion=True, **kwargs)
        self.backup_uri = backup_uri
        self.import_job_id = import_job_id
        self.plan = plan
        self.rollback = rollback
        self.verified = verified
        self.force = force

    def execute(self, context: Context) -> Any:
        with self._failing():
            job_id, last = arguments.text(self.import_job_id), last_restore(arguments.text(self.backup_uri))
            is_done = last.get("complete") and job_id is not None and last["undone"] == job_id
            if is_done and arguments.flag(self.rollback, "rollback"):
                self.log.info("Import job %s is rolled back already, by %s.", job_id, last["import_job_id"])
                return last["report"]
        result = super().execute(context)
        if result is not None:
            return result
        # Nothing was overwritten and so nothing restored, but things may have been created.
        with self._failing(), InfaHook(self.infa_conn_id) as hook:
            return self._report(hook, None, [], [])

    def start(self, context: Context, hook: InfaHook, name: str) -> str | None:
        force = arguments.flag(self.force, "force")
        undone = self._end_of_import(hook)
        if not arguments.text(self.backup_uri):
            plan = arguments.mapping(self.plan, "plan")
            if not plan:
                raise IdmcInputError("backup_uri is empty: name the backup, as the task that made it returned it.")
            check_backup_of(check_plan(plan), None)
            self.log.info("Nothing was overwritten in org %s, so there is nothing to restore.", hook.org_name)
            return None
        backup = read_backup(str(self.backup_uri))
        login = hook.get_conn().login()
        if login.org_id != backup["org"]["id"]:
            raise IdmcWrongOrgError(f"The backup is of org {backup['org']['name']}, this is org {login.org_name}.")
        restored_at = self._end_of_last_restore(hook)
        if undone is None or force:
            later = []
        else:
            later = backups.changed_since(hook.get_conn(), backup, undone, restored_at, login.user)
        if later:
            head = "What would be restored was changed since the import. With force=True that is lost:"
            raise IdmcPlanOutdatedError("\n  ".join([head, *later]))
        with local_copy(join(str(self.backup_uri), backups.PACKAGE)) as file:
            package = read_package(file)
            if package.sha256 != backup["package"]["sha256"]:
                raise IdmcPackageError(f"The package of backup {self.backup_uri} is not the one that was stored.")
            job_id = hook.upload_import_package(package)
        # Without the flag, what a mapping task keeps from run to run would be reset, not brought back.
        flags = [{"key": "mapping_conflict_existing", "value": "REPLACE"}]
        tasks = [row["id"] for row in backup["objects"] if same_type(row["type"], "MTT")]
        specification: dict[str, Any] = {"defaultConflictResolution": "OVERWRITE"}
        if tasks:
            specification["objectSpecification"] = [
                {"sourceObjectId": id, "additionalProviderFlags": flags} for id in tasks
            ]
        # Whatever comes of it: what the restore itself changes is no reason not to restore once more.
        self._note_restore(job_id, restored_at)
        # Not through the hook: a protected org must be restorable without a new approval.
        start_import(hook.get_conn(), job_id, name=f"{name}-restore", import_specification=specification)
        self.log.info("Import job %s restores %d objects in org %s.", job_id, len(backup["objects"]), login.org_name)
        return job_id

    def finish(self, context: Context, hook: InfaHook, job_id: str) -> dict[str, Any]:
        super().finish(context, hook, job_id)
        rows = read_backup(str(self.backup_uri))["objects"]
        schedules = {row["path"]: row["schedule"] for row in rows if row["schedule"]}
        linked = hook.link_schedules(schedules)
        deadline = deadline_after(arguments.seconds(self.timeout, "timeout"), self.execution_timeout)
        return self._publish(context, hook, [], deadline, job_id, linked)

    def publish_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after waiting for a publish job."""
        with self._failing(), InfaHook(self.infa_conn_id) as hook:
            carried = after_publish_job(event)
            return self._publish(
                context, hook, carried["jobs"], carried["deadline"], carried["restore_job_id"], carried["linked"]
            )

    def _publish(
        self,
        context: Context,
        hook: InfaHook,
        jobs: Sequence[Sequence[str]],
        deadline: float,
        job_id: str,
        linked: list[dict[str, Any]],
    ) -> dict[str, Any]:
        published = [row for row in read_backup(str(self.backup_uri))["objects"] if row["published"]]
        results = publish_all(
            self,
            context,
            hook,
            published,
            jobs,
            poll_interval=arguments.seconds(self.poll_interval, "poll_interval"),
            deadline=deadline,
            deferrable=self.deferrable,
            resume="publish_complete",
            restore_job_id=job_id,
            linked=linked,
        )
        check_published(results, hook.org_name)
        report = self._report(hook, job_id, linked, published)
        self._note_restore(job_id, hook.get_import(job_id).end_time, report)
        return report

    def _end_of_import(self, hook: InfaHook) -> Job | None:
        """The import to undo, once it is over; skips the task if there is nothing to undo."""
        rollback = arguments.flag(self.rollback, "rollback")
        job_id = arguments.text(self.import_job_id)
        verified = arguments.mapping(self.verified, "verified")
        # A run that is not its first may still hold what verifying an earlier import returned.
        if rollback and verified and verified.get("import_job_id") == job_id:
            raise AirflowSkipException("The promotion went well: nothing is rolled back.")
        if job_id is None:
            if rollback:
                raise AirflowSkipException("Nothing was imported, so nothing is rolled back.")
            return None
        job = started_import(hook.get_conn(), job_id)
        if job is None:
            if rollback:
                raise AirflowSkipException(f"Import job {job_id} was never started, so nothing is rolled back.")
            raise IdmcInputError(
                f"IDMC does not know that import job {job_id} was ever started, so there is nothing to undo. To bring "
                "back the backup all the same, leave import_job_id out."
            )
        plan, uri = arguments.mapping(self.plan, "plan"), arguments.text(self.backup_uri)
        for made_for in ([plan["hash"]] if plan else []) + ([read_backup(uri)["plan_hash"]] if uri else []):
            check_job(made_for, job)
        return self._ended(hook, job)

    def _ended(self, hook: InfaHook, job: Job) -> Job:
        """An import once it is over: while one runs, nothing is restored."""
        if job.state.is_end:
            return job
        self.log.warning(
            "Import job %s is still %s: waiting for its end before anything is restored.", job.id, job.word
        )
        deadline = deadline_after(arguments.seconds(self.timeout, "timeout"), self.execution_timeout)
        poll_interval = arguments.seconds(self.poll_interval, "poll_interval")
        return wait(hook.get_conn(), self.kind, job.id, deadline=deadline, poll_interval=poll_interval)

    def _end_of_last_restore(self, hook: InfaHook) -> str | None:
        """When the backup was last restored; an earlier try of the task may have left before that was over."""
        last = last_restore(arguments.text(self.backup_uri))
        job = started_import(hook.get_conn(), last["import_job_id"]) if last else None
        return self._ended(hook, job).end_time if job else last.get("end_time")

    def _note_restore(self, job_id: str, end_time: str | None, report: Mapping[str, Any] | None = None) -> None:
        note = {
            "undone": arguments.text(self.import_job_id),
            "import_job_id": job_id,
            "end_time": end_time,
            "complete": report is not None,
            "report": report,
        }
        write_text(json.dumps(note, ensure_ascii=False), join(str(self.backup_uri), backups.RESTORED))

    def _report(
        self,
        hook: InfaHook,
        job_id: str | None,
        linked: Sequence[Mapping[str, Any]],
        published: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        plan = arguments.mapping(self.plan, "plan")
        uri = arguments.text(self.backup_uri)
        if uri:
            backup = read_backup(uri)
        else:
            backup = {"objects": [], "created": backups.created(check_plan(plan)) if plan else []}
        created = backups.existing(hook.get_conn(), backup["created"])
        for row in created:
            state = f", still run by schedule {row['schedule']}" if row["schedule"] else ""
            state += ", still published" if row["published"] else ""
            self.log.warning("Created by the import, and not removed: %s %s%s", row["type"], row["path"], state)
        restored = [{"path": row["path"], "type": row["type"]} for row in backup["objects"]]
        # Which schedule they had is in no backup: IDMC is known to tell and to link that of mapping tasks only.
        others = set(SCHEDULABLE) - {"MTT"}
        unscheduled = [row for row in restored if row["type"].upper() in others]
        for row in unscheduled:
            self.log.warning("%s %s may have lost its schedule: link it in the org.", row["type"], row["path"])
        return {
            "backup_uri": uri,
            "undone": arguments.text(self.import_job_id),
            "plan_hash": plan.get("hash"),
            "import_job_id": job_id,
            "restored": restored,
            "unscheduled": unscheduled,
            "created": created,
            "linked": list(linked),
            "published": [{"path": row["path"], "type": row["type"]} for row in published],
        }


def check_backup_of(plan: Mapping[str, Any], uri: str | None) -> None:
    """
    Make sure that what a plan overwrites is saved.

    :param plan: The plan.
    :param uri: The backup, if there is one.
    :raises IdmcInputError: If there is none, or if it was made for another plan.
    """
    paths = [row["target"]["path"] for row in plan["objects"] if row["overwrites"]]
    if not paths:
        return
    if not uri:
        raise IdmcInputError(
            f"There is no backup of what the plan overwrites ({len(paths)} objects, the first is {paths[0]}): the task "
            "that makes it did not run, or was marked as successful by hand."
        )
    made_for = read_backup(uri)["plan_hash"]
    if made_for != plan["hash"]:
        raise IdmcInputError(
            f"The backup {uri} was made for plan {made_for}, this is plan {plan['hash']}. Clear from the plan on."
        )


def read_backup(uri: str) -> dict[str, Any]:
    """The description of a backup. :param uri: Where it is. :raises IdmcInputError: If it is none, or damaged."""
    try:
        data = json.loads(read_text(join(uri, backups.MANIFEST)))
    except ValueError:
        data = None
    return backups.check_backup(data, uri)
