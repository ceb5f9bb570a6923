"""The audit record of a promotion: one JSON document that says who had what imported where, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_provider_infa.idmc import planned as plans
from airflow_provider_infa.idmc.models import Job, JobState

#: Version of the record's layout.
VERSION = 1
PROMOTED, REJECTED, BLOCKED, ROLLED_BACK, FAILED = "promoted", "rejected", "blocked", "rolled back", "failed"


def state_of(
    plan: Mapping[str, Any],
    import_job_id: str | None,
    *,
    is_started: bool,
    is_complete: bool,
    approval: Mapping[str, Any] | None,
    verified: Mapping[str, Any] | None,
    restored: Mapping[str, Any] | None,
    undone: Mapping[str, Any] | None = None,
) -> str:
    """
    How a promotion ended, by what its steps returned.

    A step that did not run returned nothing; or, if the run is not its first, Airflow still has what it returned then.
    So a verdict counts only if it is about this plan and this import; and a good one only if no step before it has
    failed since, and nobody has restored the backup.
    """
    this = (import_job_id, plan["hash"])
    verdict = (verified.get("import_job_id"), verified.get("plan_hash")) if verified else None
    if import_job_id and verdict == this and is_complete and not undone:
        return PROMOTED
    is_restored = restored and (restored.get("undone"), restored.get("plan_hash")) == this
    if import_job_id and (is_restored or (undone and undone.get("complete"))):
        return ROLLED_BACK
    if any(row["action"] == plans.BLOCKED for row in plan["objects"]):
        return BLOCKED
    if approval and approval.get("approved") is not True and not is_started:
        return REJECTED
    return FAILED


def record_of(
    plan: Mapping[str, Any],
    *,
    approval: Mapping[str, Any] | None,
    backup_uri: str | None,
    import_job_id: str | None,
    job: Job | None,
    published: Sequence[Mapping[str, Any]] | None,
    linked: Sequence[Mapping[str, Any]] | None,
    verified: Mapping[str, Any] | None,
    restored: Mapping[str, Any] | None,
    is_complete: bool,
    undone: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """
    Put together what is known of a promotion. The layout is described in ``docs/promote.md``.

    :param plan: Its plan.
    :param approval: What was decided about it.
    :param backup_uri: Where its backup is.
    :param import_job_id: The import job, started or not.
    :param job: The same as IDMC tells it, with its objects; None if it does not.
    :param published: What publishing returned.
    :param linked: What linking to schedules returned.
    :param verified: What verifying returned.
    :param restored: What the rollback returned.
    :param is_complete: Whether all steps between the import and verifying returned something.
    :param undone: What is noted beside the backup of a restore that undoes the import, if there was one.
    :param more: Further members.
    """
    package = plan["package"]
    results = {result.id: result for result in (job.objects if job else None) or ()}
    if approval and approval.get("plan_hash") not in (None, plan["hash"]):
        approval = None  # of an earlier plan of this run
    is_started = job is not None and job.state is not JobState.NOT_STARTED
    state = state_of(
        plan,
        import_job_id,
        is_started=is_started,
        is_complete=is_complete and all(map(_is_published, published or ())),
        approval=approval,
        verified=verified,
        restored=restored,
        undone=undone,
    )
    verified = verified if state == PROMOTED else None
    ids = {(row["path"], row["type"]): row["new_id"] for row in (verified or {}).get("objects", ())}
    objects = []
    for row in plan["objects"]:
        target, result = row["target"], results.get(row["source"]["id"])
        objects.append(
            {
                "path": target["path"],
                "type": target["type"],
                "planned": row["action"],
                "overwrites": row["overwrites"],
                "reason": row["reason"],
                "done": result.done if result else None,
                "state": result.word if result else None,
                "message": result.message if result else None,
                "source_id": row["source"]["id"],
                "old_id": target["id"],
                "new_id": ids.get((target["path"], target["type"])),
            }
        )
    return {
        "version": VERSION,
        "state": state,
        "plan_hash": plan["hash"],
        "source_org": {"id": package["source_org_id"], "name": package["source_org_name"]},
        "target_org": plan["target_org"],
        "user": plan["user"],
        "package_sha256": package["sha256"],
        "approval": approval,
        "backup_uri": backup_uri,
        "import_job": None
        if job is None
        else {
            "id": job.id,
            "state": job.word,
            "message": job.message,
            "start_time": job.start_time,
            "end_time": job.end_time,
        },
        "objects": objects,
        "published": list(published or ()),
        "linked": list(linked or ()),
        "rollback": restored if state == ROLLED_BACK else None,
        "recorded_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **more,
    }


def _is_published(row: Any) -> bool:
    """Whether a row of what publishing returned tells of a success; it returns those that failed as well."""
    word = row.get("state") if isinstance(row, Mapping) else None
    return JobState.of(str(word), ended=True) is JobState.SUCCESSFUL


def short_form(record: Mapping[str, Any], record_uri: str | None) -> dict[str, Any]:
    """
    What an asset event tells of a promotion. Flat, because Airflow 2 can't store an event with anything nested.

    :param record: The record.
    :param record_uri: Where it is stored.
    """
    approval, job = record["approval"] or {}, record["import_job"] or {}
    return {
        "state": record["state"],
        "plan_hash": record["plan_hash"],
        "source_org": record["source_org"]["name"],
        "target_org": record["target_org"]["name"],
        "approved_by": approval.get("by") if approval.get("approved") is True else None,
        "import_job_id": job.get("id"),
        "package_sha256": record["package_sha256"],
        "objects": len(record["objects"]),
        "created": sum(o["planned"] == plans.CREATE for o in record["objects"]),
        "overwritten": sum(o["overwrites"] for o in record["objects"]),
        "record_uri": record_uri,
    }
