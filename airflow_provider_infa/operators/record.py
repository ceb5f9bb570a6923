"""The audit record of a promotion, and the asset event by which the next one can be scheduled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowSkipException, Asset, AssetAlias, BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.assets import asset_uris
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcError, IdmcSessionError
from airflow_provider_infa.idmc.planned import check_plan, is_for
from airflow_provider_infa.idmc.record import PROMOTED, record_of, short_form
from airflow_provider_infa.restored import restore_of
from airflow_provider_infa.storage import exists, join, read_text, write_text
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

T = TypeVar("T")

#: The alias under which promotions announce the assets that they changed.
ALIAS = "infa_promotions"


class InfaRecordPromotionOperator(Stoppable, BaseOperator):
    """
    Write down how a promotion ended: one JSON document with the approver, plan hash, orgs, package, jobs, times, and
    what became of each object. Beside it goes the log of the import job.

    A promotion that went well also makes an Airflow asset event for each project that it changed,
    ``infa://<org>/<project>``, with the short form as extra: a DAG with ``schedule=[Asset("infa://ACME_TEST/Sales")]``
    runs after it. :func:`~airflow_provider_infa.assets.asset_uri` writes names with special characters.

    Most arguments are what the steps of that name returned, or None if they did not run. Without a plan there was no
    promotion, and the task is skipped.

    Verifying comes last, and Airflow keeps what it returned when a step before it is cleared and fails. So a promotion
    went well only if ``published`` names no failure, and if neither that nor ``linked``, where it is given, came to
    nothing.

    :param plan: The plan.
    :param approval: What was decided about it.
    :param backup_uri: Where its backup is.
    :param import_job_id: The import job, started or not. If it was started for another plan, in an earlier try of the
        run, then import, backup and publication are not recorded as this plan's.
    :param published: What publishing returned.
    :param linked: What linking to schedules returned.
    :param verified: What verifying returned.
    :param restored: What the rollback returned.
    :param audit_uri: Where to store records: any path that Airflow's object storage takes. The record lies in a folder
        named after DAG, run and plan, as the backup does. Without it nothing is stored.
    :param infa_conn_id: Airflow connection of the target org.
    :return: The short form: ``state`` (``promoted``, ``rejected``, ``blocked``, ``rolled back`` or ``failed``),
        ``plan_hash``, ``source_org``, ``target_org``, ``approved_by``, ``import_job_id``, ``package_sha256``,
        ``objects``, ``created``, ``overwritten``, ``record_uri``.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "plan",
        "approval",
        "backup_uri",
        "import_job_id",
        "published",
        "linked",
        "verified",
        "restored",
        "audit_uri",
    )
    template_fields_renderers = dict.fromkeys(
        ("plan", "approval", "published", "linked", "verified", "restored"), "json"
    )

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | str | None,
        approval: Mapping[str, Any] | str | None = None,
        backup_uri: str | None = None,
        import_job_id: str | None = None,
        published: Any = None,
        linked: Any = None,
        verified: Any = None,
        restored: Mapping[str, Any] | str | None = None,
        audit_uri: str | None = None,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"outlets": [AssetAlias(ALIAS)], **kwargs})
        self.infa_conn_id = infa_conn_id
        self.plan = plan
        self.approval = approval
        self.backup_uri = backup_uri
        self.import_job_id = import_job_id
        self.published = published
        self.linked = linked
        # What a DAG gives comes from a step that belongs to the promotion.
        self._steps = arguments.given(published=published, linked=linked)
        self.verified = verified
        self.restored = restored
        self.audit_uri = audit_uri

    def execute(self, context: Context) -> dict[str, Any]:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            if not (given := arguments.mapping(self.plan, "plan")):
                raise AirflowSkipException("Nothing was planned, so there is nothing to record.")
            plan = check_plan(given)
            job_id, uri = arguments.text(self.import_job_id), arguments.text(self.backup_uri)
            job = self._told(lambda: hook.get_import(job_id or "", expand=True)) if job_id else None
            # Tasks that a rejection skips still have what they returned in an earlier try, for another plan.
            is_of_plan = job is None or is_for(plan["hash"], job)
            if not is_of_plan:
                job_id = uri = job = None
            undone = restore_of(hook, uri, job_id)
            log_text = self._told(lambda: hook.get_import_log(job.id)) if job and job.state.is_end else None
            place = self._place(context, plan)
            returned = {name: arguments.structure(getattr(self, name), name) for name in ("published", "linked")}
            verified = arguments.mapping(self.verified, "verified") or None
            lacking = [name for name in sorted(self._steps) if returned[name] is None]
            if verified and lacking:
                self.log.warning("What verifying returned does not count: %s came to nothing.", " and ".join(lacking))
            record = record_of(
                plan,
                approval=arguments.mapping(self.approval, "approval") or None,
                backup_uri=uri,
                import_job_id=job_id,
                job=job,
                published=returned["published"] if is_of_plan else None,
                linked=returned["linked"] if is_of_plan else None,
                is_complete=not lacking,
                verified=verified,
                restored=arguments.mapping(self.restored, "restored") or undone.get("report"),
                undone=undone,
                dag_id=context["dag"].dag_id,
                run_id=context["run_id"],
                log_uris={
                    "airflow": str(context["ti"].log_url),
                    "idmc": write_text(log_text, join(place, f"import-{job_id}.log")) if place and log_text else None,
                },
            )
            written = _write(record, place) if place else None
        short = short_form(record, written)
        self.log.info("Promotion into org %s: %s. %s", short["target_org"], short["state"], written or "")
        if record["state"] == PROMOTED and _alias_is_stored():
            for changed in asset_uris(plan):
                context["outlet_events"][AssetAlias(ALIAS)].add(Asset(changed), extra=short)
        return short

    def _told(self, ask: Callable[[], T]) -> T | None:
        """What IDMC tells of the import job; its refusal does not cost the record."""
        try:
            return ask()
        except IdmcError as error:
            # A session that is not accepted may be all that this user gets for this call.
            if error.transient and not isinstance(error, IdmcSessionError):
                raise
            self.log.warning("This is not part of the record: %s", error)
            return None

    def _place(self, context: Context, plan: Mapping[str, Any]) -> str | None:
        uri = arguments.text(self.audit_uri)
        return join(uri, context["dag"].dag_id, context["run_id"], plan["hash"][:12]) if uri else None


def _write(record: Mapping[str, Any], place: str) -> str:
    """Write the record; that of another import of the same plan, in an earlier try of the run, stays beside it."""
    uri = join(place, "record.json")
    if exists(uri):
        text = read_text(uri)
        earlier = (json.loads(text)["import_job"] or {}).get("id")
        if earlier and earlier != (record["import_job"] or {}).get("id"):
            write_text(text, join(place, f"record-{earlier}.json"))
    return write_text(json.dumps(record, indent=1, ensure_ascii=False), uri)


def _alias_is_stored() -> bool:
    """
    Whether events can be added to the alias.

    Airflow 2 takes its own session down if the alias is not in the database, which is so for ``airflow dags test`` of a
    DAG that no scheduler has seen. Airflow 3 has no such problem, nor this module.
    """
    try:
        from airflow.models.dataset import DatasetAliasModel
    except ImportError:
        return True
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.query(DatasetAliasModel).filter_by(name=ALIAS).first() is not None
