"""Publishing what an import leaves unpublished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_infa import arguments
from airflow_provider_infa.attaching import attach_or_start
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcJobFailedError
from airflow_provider_infa.idmc.models import JobKind, JobState, ObjectResult, plain_path
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.idmc.publish import batches, is_publishable, object_of
from airflow_provider_infa.restored import check_import
from airflow_provider_infa.waiting import (
    Stoppable,
    deadline_after,
    failing_for_good,
    job_of_event,
    wait_for_job,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def publish_all(
    operator: BaseOperator,
    context: Context,
    hook: InfaHook,
    objects: Sequence[Mapping[str, Any]],
    jobs: Sequence[Sequence[str]],
    *,
    poll_interval: float,
    deadline: float,
    deferrable: bool,
    resume: str = "execute_complete",
    **more: Any,
) -> list[ObjectResult]:
    """
    Publish objects, one call after the other; or, if deferrable, leave the worker while one runs.

    What failed is published again as long as that helps: within a type, it may need what came after it. What is in the
    org need not refer to the same assets as what is in a package.

    :param operator: The task.
    :param context: Of the task.
    :param hook: Hook of the org.
    :param objects: Rows with ``path`` and ``type``.
    :param jobs: Kind and id of the jobs that were started before the deferral that the task comes back from.
    :param poll_interval: Seconds between two looks once a job has run for a while.
    :param deadline: Wall-clock time at which waiting ends.
    :param deferrable: Whether to defer.
    :param resume: Method of the task that goes on after a deferral.
    :param more: What that finds in the event's ``carry``, besides ``jobs`` and ``deadline``.
    :return: What became of each object.
    """
    before = [(JobKind(kind), job_id) for kind, job_id in jobs]
    started: list[tuple[JobKind, str]] = []

    def start(kind: JobKind, paths: Sequence[str]) -> str:
        job = hook.start_publish(kind, paths)
        operator.log.info("Publish job %s of %d assets in org %s is %s.", job.id, len(paths), hook.org_name, job.word)
        return job.id

    def run(kind: JobKind, paths: Sequence[str], round: int) -> str:
        """Id of the job that publishes these, once it is over."""
        if len(started) < len(before):
            started.append(before[len(started)])
            return started[-1][1]
        job_id = attach_or_start(context, hook, kind, [paths, round, more], partial(start, kind, paths))
        started.append((kind, job_id))
        wait_for_job(
            operator,
            hook,
            kind,
            job_id,
            poll_interval=poll_interval,
            deadline=deadline,
            deferrable=deferrable,
            resume=resume,
            carry={"jobs": [[kind.value, id] for kind, id in started], "deadline": deadline, **more},
        )
        return job_id

    results: dict[tuple[str, str], ObjectResult] = {}
    rest, round = [dict(row) for row in objects], 0
    while rest:
        ended = [(kind, run(kind, paths, round), paths) for kind, paths in batches(rest)]
        told = [result for kind, job_id, paths in ended for result in _results(hook, kind, job_id, paths)]
        results |= {(r.path, r.type): r for r in told}
        failed = [{"path": r.path, "type": r.type} for r in told if r.state is not JobState.SUCCESSFUL]
        rest, round = (failed if len(failed) < len(told) else []), round + 1
    for r in results.values():
        operator.log.info("%-11s %-20s %s %s", r.word, r.type, r.path, r.message or "")
    return list(results.values())


def after_publish_job(event: dict[str, Any] | None) -> dict[str, Any]:
    """
    What :func:`publish_all` carried over a deferral.

    :param event: What the trigger yielded.
    :raises IdmcTimeoutError: If the job still ran at the deadline.
    """
    carried: dict[str, Any] = (event or {}).get("carry") or {}
    job_of_event(event, JobKind(carried["jobs"][-1][0]) if carried else JobKind.PUBLISH)
    return carried


def check_published(results: Sequence[ObjectResult], org: str) -> None:
    """
    Refuse a publication that left something out.

    :param results: What became of each object.
    :param org: Name of the org, for the message.
    :raises IdmcJobFailedError: Naming each asset that was not published, with IDMC's words.
    """
    if failed := [r for r in results if r.state is not JobState.SUCCESSFUL]:
        lines = [f"{len(failed)} of {len(results)} assets were not published in org {org}:"]
        lines += [f"{r.type} {r.path}: {r.word}: {r.message or 'no message'}" for r in failed]
        raise IdmcJobFailedError("\n  ".join(lines))


def _results(hook: InfaHook, kind: JobKind, job_id: str, paths: Sequence[str]) -> list[ObjectResult]:
    """What became of each asset of a call; the job's own state where IDMC does not tell."""
    job = hook.get_job(kind, job_id, expand=True)
    told = {(result.path, result.type): result for result in job.objects or ()}
    return [
        told.get(object_of(path)) or ObjectResult(None, *object_of(path), job.state, job.word, job.message)
        for path in paths
    ]


class InfaPublishOperator(Stoppable, BaseOperator):
    """
    Publish taskflows and Application Integration assets: service connectors, connections, processes, guides.

    What others are built on goes first, taskflows go last and in calls of their own, at most 199 assets a call, and
    each call waits for the one before it. A retry publishes again, which changes nothing where it is published; from
    Airflow 3.3 on it goes on with what an earlier try started and what still runs.

    :param objects: Rows with ``path`` and ``type``, all of types that can be published.
    :param plan: Instead of ``objects``, the plan of the import: what that brings and can be published.
    :param backup_uri: The backup that was made before the import: if it has been restored since, the task fails and
        changes nothing.
    :param import_job_id: That import's job; needed with ``backup_uri``. Started for another plan, it fails the task.
    :param poll_interval: Seconds between two looks once a job has run for a while; 10 by default.
    :param timeout: Seconds to wait at most, for all calls together; an hour by default. A real org took 3 to 13 minutes
        for 199 assets.
    :param deferrable: Wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param infa_conn_id: Airflow connection of the org.
    :return: A row for each asset: ``path``, ``type``, ``state``, ``message``. If any asset was not published the task
        fails, after all calls, and XCom ``assets`` holds the rows.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "objects",
        "plan",
        "backup_uri",
        "import_job_id",
        "poll_interval",
        "timeout",
    )
    template_fields_renderers = {"objects": "json", "plan": "json"}

    def __init__(
        self,
        *,
        objects: Sequence[Any] | str | None = None,
        plan: Mapping[str, Any] | str | None = None,
        backup_uri: str | None = None,
        import_job_id: str | None = None,
        poll_interval: float | str = 10.0,
        timeout: float | str = 3600.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.objects = objects
        self.plan = plan
        self.backup_uri = backup_uri
        self.import_job_id = import_job_id
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferrable = deferrable

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with failing_for_good(job_is_retried=True), InfaHook(self.infa_conn_id) as hook:
            check_import(hook, arguments.mapping(self.plan, "plan"), self.backup_uri, self.import_job_id)
            deadline = deadline_after(arguments.seconds(self.timeout, "timeout"), self.execution_timeout)
            return self._publish(context, hook, [], deadline)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Go on after a deferral."""
        with failing_for_good(job_is_retried=True), InfaHook(self.infa_conn_id) as hook:
            carried = after_publish_job(event)
            return self._publish(context, hook, carried["jobs"], carried["deadline"])

    def _publish(
        self, context: Context, hook: InfaHook, jobs: Sequence[Sequence[str]], deadline: float
    ) -> list[dict[str, Any]]:
        poll_interval = arguments.seconds(self.poll_interval, "poll_interval")
        objects = self._rows()
        if not objects:
            self.log.info("There is nothing to publish.")
        results = publish_all(
            self,
            context,
            hook,
            objects,
            jobs,
            poll_interval=poll_interval,
            deadline=deadline,
            deferrable=self.deferrable,
        )
        rows = [{"path": r.path, "type": r.type, "state": r.word, "message": r.message} for r in results]
        context["ti"].xcom_push(key="assets", value=rows)
        # Before the verdict, so that a publication that failed is recorded as well.
        context["ti"].xcom_push(key="return_value", value=rows)
        check_published(results, hook.org_name)
        return rows

    def _rows(self) -> list[dict[str, Any]]:
        rows = arguments.objects(self.objects, "objects")
        plan = arguments.mapping(self.plan, "plan")
        if plan and rows:
            raise IdmcInputError("objects and plan exclude each other.")
        if plan:
            arriving = [r["target"] for r in check_plan(plan)["objects"] if r["overwrites"] or r["action"] == "create"]
            return [target for target in arriving if is_publishable(target["type"])]
        if ids := [row for row in rows if isinstance(row, str)]:
            raise IdmcInputError(f"objects must be rows with path and type, not {ids[0]!r}.")
        return [{**row, "path": plain_path(str(row.get("path") or ""))} for row in rows if not isinstance(row, str)]
