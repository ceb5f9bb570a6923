"""What a backup holds besides its package: what an import that is to be undone would have left behind."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcNotFoundError,
    IdmcPackageError,
    IdmcPermissionError,
    IdmcRequestError,
)
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import Asset, Job, same_type
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.package import Package
from airflow_provider_infa.idmc.planned import CREATE
from airflow_provider_infa.idmc.publish import is_publishable
from airflow_provider_infa.idmc.schedules import schedule_of
from airflow_provider_infa.idmc.schemas import fault
from airflow_provider_infa.idmc.session import Session

log = logging.getLogger(__name__)

#: Version of the description's layout.
VERSION = 1
MANIFEST, PACKAGE, RESTORED = "backup.json", "package.zip", "restored.json"
#: IDMC shows the end of a job rounded to whole seconds, and the change of an object cut off to them.
TOLERANCE = timedelta(seconds=2)


def describe(session: Session, plan: Mapping[str, Any], package: Package) -> dict[str, Any]:
    """
    Describe a backup: what it holds, what no package carries, and what the import would create.

    :param session: Session with the target org.
    :param plan: The plan of the import.
    :param package: The package with what the import would overwrite.
    :raises IdmcPackageError: If the package lacks any of that.
    """
    rows = [row["target"] for row in plan["objects"] if row["overwrites"]]
    held = {o.id for o in package.objects}
    if lacking := [f"{row['type']} {row['path']}" for row in rows if row["id"] not in held]:
        raise IdmcPackageError(f"The backup of org {plan['target_org']['name']} lacks {', '.join(lacking)}.")
    return {
        "version": VERSION,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "org": plan["target_org"],
        "plan_hash": plan["hash"],
        "user": plan["user"],
        "package": {"sha256": package.sha256, "size": package.size},
        "objects": _with_state(session, rows),
        "created": created(plan),
        "schedules": plan["schedules"],
    }


def created(plan: Mapping[str, Any]) -> list[dict[str, str]]:
    """What an import creates, by path and type. :param plan: Its plan."""
    rows = [row["target"] for row in plan["objects"] if row["action"] == CREATE]
    return [{"path": row["path"], "type": row["type"]} for row in rows]


def check_backup(data: Any, uri: str) -> dict[str, Any]:
    """
    Check that a value describes a backup of this version.

    :param data: What the file held.
    :param uri: Where the backup is, for messages.
    :raises IdmcInputError: If it does not.
    """
    if not isinstance(data, Mapping) or not {"org", "objects", "package", "created"} <= data.keys():
        raise IdmcInputError(f"{uri} holds no backup: its {MANIFEST} is another file.")
    if data.get("version") != VERSION:
        raise IdmcInputError(f"The backup {uri} has version {data.get('version')!r}, this is version {VERSION}.")
    if found := fault("backup", data):
        raise IdmcInputError(f"{uri} holds no backup: its {MANIFEST} is damaged ({found}).")
    return dict(data)


def existing(session: Session, rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """
    Those of the objects that the org has, with the schedule of each mapping task, and whether they are published.

    :param session: Session with the org.
    :param rows: Path and type.
    """
    refs = [{"path": row["path"], "type": row["type"]} for row in rows]
    return _with_state(session, [asset.row() for asset in lookup(session, refs, ignore_missing=True) if asset])


def changed_since(
    session: Session,
    backup: Mapping[str, Any],
    job: Job,
    restored_at: str | None,
    user: str,
) -> list[str]:
    """
    Objects of a backup that were changed since the import that is to be undone, as sentences.

    By others since it began: what it wrote itself it leaves behind as changed by the importing user (recorded from a
    real org in infapy's objects after an import). By the promoting user after it ended: that may have been a later
    promotion, which must not be undone along with this one. What the steps after an import change themselves is left
    out: they link mapping tasks, and publish.

    :param session: Session with the org.
    :param backup: The backup.
    :param job: The import.
    :param restored_at: When the backup was last restored, as IDMC writes it: that is no change, and what came before
        it was looked at then.
    :param user: Who restores: the importing user, unless the connection names another one since.
    """
    # These may have been linked to a schedule since.
    linked = {*backup.get("schedules", ()), *(row["path"] for row in backup["objects"] if row["schedule"])}
    refs = [{"path": row["path"], "type": row["type"]} for row in backup["objects"]]
    found: Iterable[Asset | None] = lookup(session, refs, ignore_missing=True)
    # Nothing tells when failed jobs end.
    ended, restored = (moment and moment + TOLERANCE for moment in map(_moment, (job.end_time, restored_at)))
    # Times of assets are whole seconds.
    started = (moment := _moment(job.start_time)) and moment.replace(microsecond=0)
    since_by_others = max((moment for moment in (started or ended, restored) if moment), default=None)
    since_by_us = max((moment for moment in (ended, restored) if moment), default=None)

    def is_later(asset: Asset) -> bool:
        changed = _moment(asset.updated_by and asset.update_time)
        if changed is None:
            return False
        if asset.updated_by not in (user, backup.get("user")):
            return since_by_others is None or changed >= since_by_others
        is_linked = same_type(asset.type, "MTT") and asset.path in linked
        by_a_step = is_linked or is_publishable(asset.type)
        return since_by_us is not None and changed > since_by_us and not by_a_step

    return [f"{a.type} {a.path}: {a.updated_by} changed it at {a.update_time}." for a in found if a and is_later(a)]


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
        # Every time that was seen ends with Z; one without a zone must not be the end of a rollback.
        return moment.replace(tzinfo=timezone.utc) if moment and moment.tzinfo is None else moment
    except ValueError:
        return None


def _with_state(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Objects with what no package carries: ``schedule`` and ``published``."""
    published = _published(session, rows)
    return [{**row, "schedule": _schedule_name(session, row), "published": row["id"] in published} for row in rows]


def _schedule_name(session: Session, row: Mapping[str, Any]) -> str | None:
    if not same_type(row["type"], "MTT"):
        return None
    try:
        schedule = schedule_of(session, row["id"])
    except (IdmcNotFoundError, IdmcPermissionError, IdmcRequestError) as error:
        log.warning("The schedule of %s can't be read, so it counts as none: %s", row["path"], error)
        return None
    return schedule.name if schedule else None


def _published(session: Session, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of what is published now."""
    places = {(row["path"].rpartition("/")[0], row["type"]) for row in rows if is_publishable(row["type"])}
    assets = (asset for place, type in sorted(places) for asset in _listed(session, place, type))
    return {asset.id for asset in assets if _is_published(asset)}


def _listed(session: Session, location: str, type: str) -> Iterable[Asset]:
    try:
        return list(list_objects(session, location=location, types=type))
    except IdmcInputError:
        # No filter can hold the name of this container, so what it holds is found among all of the type.
        return list_objects(session, types=type)


def _is_published(asset: Asset) -> bool:
    """Fields from Informatica's page "Objects"; the status was seen by clients only."""
    attributes = asset.custom_attributes or {}
    status = attributes.get("publicationStatus")
    return str(status).lower() == "published" if status else bool(attributes.get("publishedBy"))
