"""Airflow connection to IDMC client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_infa.hooks.connection import field_behaviour, form_widgets, settings_of
from airflow_provider_infa.idmc import exports, imports, objects
from airflow_provider_infa.idmc.approval import check_approval
from airflow_provider_infa.idmc.errors import IdmcError
from airflow_provider_infa.idmc.jobs import get_job, get_log
from airflow_provider_infa.idmc.lookup import lookup, written
from airflow_provider_infa.idmc.models import Asset, Job, JobKind, Reference
from airflow_provider_infa.idmc.package import Package, read_package
from airflow_provider_infa.idmc.planned import check_job, check_plan, job_name
from airflow_provider_infa.idmc.publish import start_publish
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.idmc.schedules import find_schedule, link_schedule
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.transport import Download

#: Hooks in whose ``with`` block this process is: they log out when it is left.
entered: WeakSet[InfaHook] = WeakSet()


class InfaHook(BaseHook):
    """
    One org of Informatica IDMC, through an Airflow connection of type ``infa``.

    Logs in with the first call and again whenever IDMC no longer accepts the session. Use it in a ``with`` block, so
    that it logs out at the end; a session that is left open lasts half an hour::

        with InfaHook("infa_dev") as hook:
            for asset in hook.list_objects(types="MTT", tag="release-1"):
                print(asset.path)

    All methods raise subclasses of :class:`~airflow_provider_infa.idmc.errors.IdmcError`.

    :param infa_conn_id: Airflow connection of the org.
    """

    conn_name_attr = "infa_conn_id"
    default_conn_name = "infa_default"
    conn_type = "infa"
    hook_name = "Informatica IDMC"

    def __init__(self, infa_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.infa_conn_id = infa_conn_id
        self._session: Session | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Fields of the form beyond the standard ones (Airflow before 3.2)."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How the form shows the standard fields (Airflow before 3.2)."""
        return field_behaviour()

    def get_conn(self) -> Session:
        """
        Session with the org of the connection; nothing is sent yet.

        :raises IdmcSettingsError: If the connection is incomplete or contradicts itself.
        """
        if self._session is None:
            settings = settings_of(self.get_connection(self.infa_conn_id))
            self._session = Session(settings, on_secret=mask)
        mask_waiting()
        return self._session

    def close(self) -> None:
        """Log out. The next call logs in again."""
        entered.discard(self)
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def __enter__(self) -> InfaHook:
        entered.add(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def org_name(self) -> str:
        """Name of the org that the connection leads to; logs in if need be."""
        return self.get_conn().login().org_name

    def test_connection(self) -> tuple[bool, str]:
        """Log in, tell user and org, log out."""
        try:
            with self:
                login = self.get_conn().login()
                return True, f"Logged in as {login.user} to org {login.org_name} ({login.org_id})."
        except IdmcError as error:
            return False, str(error)

    def list_objects(self, **filters: Any) -> Iterator[Asset]:
        """
        Find assets, page by page.

        :param filters: As :func:`airflow_provider_infa.idmc.objects.list_objects` takes them.
        """
        return objects.list_objects(self.get_conn(), **filters)

    def lookup(
        self, refs: Iterable[Mapping[str, str] | str], *, ignore_missing: bool = False
    ) -> list[Asset] | list[Asset | None]:
        """
        Find objects; see :func:`airflow_provider_infa.idmc.lookup.lookup`.

        :param refs: Ids, or objects with ``id``, or with ``path`` and ``type``; paths may begin with ``Explore/``.
        :param ignore_missing: Return None for what the org lacks.
        :return: Assets in the order of ``refs``.
        :raises IdmcNotFoundError: If the org lacks some, all of which are named.
        """
        return lookup(self.get_conn(), map(written, refs), ignore_missing=ignore_missing)

    def references(self, id: str, ref_type: str = "uses") -> Iterator[Reference]:
        """
        Direct dependencies of an asset; see :func:`airflow_provider_infa.idmc.objects.references`.

        :param id: Id of the asset.
        :param ref_type: ``uses`` for what it needs, ``usedBy`` for what needs it.
        """
        return objects.references(self.get_conn(), id, ref_type)

    def start_export(self, ids: Sequence[str], **options: Any) -> Job:
        """
        Start an export job; see :func:`airflow_provider_infa.idmc.exports.start_export`.

        :param ids: Ids of the objects.
        :param options: Further arguments of that function.
        """
        return exports.start_export(self.get_conn(), ids, **options)

    def get_export(self, id: str, expand: bool = False) -> Job:
        """
        State of an export job.

        :param id: Export job id.
        :param expand: Also ask what it did with each object.
        """
        return self.get_job(JobKind.EXPORT, id, expand=expand)

    def get_export_log(self, id: str) -> str:
        """Log of an export job. :param id: Export job id."""
        return self.get_job_log(JobKind.EXPORT, id)

    def download_export_package(self, id: str, path: str | Path) -> Download:
        """
        Fetch the package of a finished export job; see :func:`airflow_provider_infa.idmc.exports.download_package`.

        :param id: Export job id.
        :param path: File to write.
        """
        return exports.download_package(self.get_conn(), id, Path(path))

    def upload_import_package(self, path: str | Path | Package, *, relax_checksum: bool = False) -> str:
        """
        Verify a package and upload it; see :func:`airflow_provider_infa.idmc.imports.upload_package`.

        :param path: The ZIP file, or a package that is verified already.
        :param relax_checksum: Accept a package that was changed after the export, and have IDMC accept it.
        :return: Import job id.
        """
        package = path if isinstance(path, Package) else read_package(Path(path), relax_checksum=relax_checksum)
        return imports.upload_package(self.get_conn(), package.path, relax_checksum=relax_checksum)

    def start_import(
        self,
        id: str,
        name: str | None = None,
        import_specification: Mapping[str, Any] | None = None,
        *,
        plan: Mapping[str, Any] | None = None,
        approval: Mapping[str, Any] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Job:
        """
        Start an import job, unless it is started already.

        See :func:`airflow_provider_infa.idmc.imports.start_import`.

        :param id: Import job id, from the upload.
        :param name: Name of the job; that of one with a plan ends with the beginning of the plan's hash.
        :param import_specification: IDMC's ``importSpecification``; with a plan, the plan's.
        :param plan: The plan to carry out. Right before the start it is made sure that it still holds.
        :param approval: What was decided about the plan; necessary if the connection is protected.
        :param before: Called as well right before the start; may raise to prevent it.
        :raises IdmcApprovalError: If the plan was not approved, and had to be, or another one was.
        :raises IdmcPlanOutdatedError: If the target org changed since the plan was made, or if the job was started for
            another plan.
        """
        if plan is not None:
            plan = check_plan(plan)
            import_specification = plan["import_specification"]
            name = job_name(name or "job", plan)

        def check() -> None:
            before()
            if approval or self.get_conn().settings.protected:
                check_approval(plan, approval, self.org_name)
            if plan is not None:
                check_target(self.get_conn(), plan)

        job, is_new = imports.start_import(
            self.get_conn(), id, name=name, import_specification=import_specification, before=check
        )
        if plan is not None:
            check_job(plan["hash"], job)
        if not is_new:
            self.log.warning(
                "Import job %s is already %s: it is not started again. To import once more, plan and upload again.",
                id,
                job.word,
            )
        return job

    def get_import(self, id: str, expand: bool = False) -> Job:
        """
        State of an import job.

        :param id: Import job id.
        :param expand: Also ask what it did with each object.
        """
        return self.get_job(JobKind.IMPORT, id, expand=expand)

    def get_import_log(self, id: str) -> str:
        """Log of an import job. :param id: Import job id."""
        return self.get_job_log(JobKind.IMPORT, id)

    def start_publish(self, kind: JobKind, asset_paths: Sequence[str]) -> Job:
        """
        Start a publish job; see :func:`airflow_provider_infa.idmc.publish.start_publish`.

        :param kind: ``JobKind.PUBLISH`` for taskflows or ``JobKind.PUBLISH_CAI`` for the rest; no call takes both.
        :param asset_paths: Paths of the assets, with their types, as IDMC writes them.
        """
        return start_publish(self.get_conn(), kind, asset_paths)

    def link_schedules(self, schedules: Mapping[str, str]) -> list[dict[str, Any]]:
        """
        Have mapping tasks run by schedules. Everything is found before the first task is linked.

        :param schedules: Path of a mapping task to the name of a schedule.
        :return: A row for each task: ``path``, ``schedule`` and ``linked``, which is False if it was so before.
        :raises IdmcNotFoundError: If a task or a schedule does not exist.
        """
        session = self.get_conn()
        tasks = lookup(session, [{"path": path, "type": "MTT"} for path in schedules])
        found = {name: find_schedule(session, name) for name in dict.fromkeys(schedules.values())}
        rows = []
        for (path, name), task in zip(schedules.items(), tasks, strict=True):
            linked = task is not None and link_schedule(session, task.id, found[name])
            self.log.info("%s %s schedule %s.", path, "is now run by" if linked else "was already run by", name)
            rows.append({"path": path, "schedule": name, "linked": linked})
        return rows

    def get_job(self, kind: JobKind, id: str, *, expand: bool = False) -> Job:
        """
        State of a job of any kind.

        :param kind: Which kind.
        :param id: Job id.
        :param expand: Also ask what it did with each object.
        """
        return get_job(self.get_conn(), kind, id, expand_objects=expand)

    def get_job_log(self, kind: JobKind, id: str) -> str:
        """
        Log of a job of any kind that has one.

        :param kind: Which kind.
        :param id: Job id.
        """
        return get_log(self.get_conn(), kind, id)


#: Secrets that another thread learnt, until the main one tells Airflow.
_unmasked: deque[str] = deque(maxlen=1000)


def mask(secret: str) -> None:
    """
    Have Airflow mask a secret in all logs of this task.

    Only the main thread can: before Airflow 3.2, a task's connection to its supervisor mixes up the answers of two
    threads that use it, or has both wait for ever. What another thread brings is masked with the hook's next call from
    the main one; we ourselves never log it.
    """
    _unmasked.append(secret)
    mask_waiting()


def mask_waiting() -> None:
    """Mask what other threads brought, if this is the main thread."""
    if threading.current_thread() is threading.main_thread():
        while _unmasked:
            _mask(_unmasked.popleft())


def _mask(secret: str) -> None:
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        # Airflow 2. common-compat offers the function under one name only in its newest versions.
        from airflow.utils.log.secrets_masker import mask_secret as mask_secret_2

        mask_secret_2(secret)
    else:
        mask_secret(secret)
