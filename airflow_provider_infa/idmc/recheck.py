"""Whether the target org still is what a plan assumed: asked again right before the import starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcPlanOutdatedError, IdmcWrongOrgError
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import Asset
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.source_control import obstacle, source_controlled

#: Differences named in an error.
SHOWN = 50


def check_target(session: Session, plan: Mapping[str, Any]) -> None:
    """
    Refuse to start if the plan, made again now, would be another one.

    Package and wishes are part of the plan and can't have changed, so only the target org is looked at: whether all
    that was to be created is still missing, all that was to be reused still there, and all that is to be overwritten
    still as it was when it was planned.

    :param session: Session with the target org.
    :param plan: A plan, checked by :func:`~airflow_provider_infa.idmc.planned.check_plan`.
    :raises IdmcWrongOrgError: If the plan is for another org.
    :raises IdmcPlanOutdatedError: With every difference; also if another user is logged in now.
    """
    login = session.login()
    planned_org = plan["target_org"]
    if login.org_id != planned_org["id"]:
        raise IdmcWrongOrgError(
            f"The plan is for org {planned_org['name']} ({planned_org['id']}), but the connection leads to org "
            f"{login.org_name} ({login.org_id}). Nothing was started."
        )
    if login.user != plan["user"]:
        raise IdmcPlanOutdatedError(
            f"The plan says that {plan['user']} imports, but the connection logs in as {login.user} now. Nothing was "
            "started. Plan again, in a new run if a person approves."
        )
    rows = list(plan["objects"])
    refs = [{"path": row["target"]["path"], "type": row["target"]["type"]} for row in rows]
    found = lookup(session, refs, ignore_missing=True)
    overwritten = [asset for row, asset in zip(rows, found, strict=True) if row["overwrites"] and asset]
    controlled = source_controlled(session, overwritten)
    changes = [
        f"{row['target']['type']} {row['target']['path']}: {change}"
        for row, asset in zip(rows, found, strict=True)
        if (change := _change(row, asset, controlled.get(asset.id) if asset else None, login.user))
    ]
    if changes:
        more = [f"... and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
        raise IdmcPlanOutdatedError(
            "\n  ".join(
                [
                    f"Org {login.org_name} has changed since the plan {plan['hash'][:12]} was made, so the import is "
                    "not started. Plan again, in a new run if a person approves. What changed:",
                    *changes[:SHOWN],
                    *more,
                ]
            )
        )


def _change(row: Mapping[str, Any], asset: Asset | None, controlled: Asset | None, user: str) -> str | None:
    """What is different about one object, if anything is."""
    target = row["target"]
    if asset is None:
        return f"it was to be {_participle(row)}, and is no longer there." if target["id"] else None
    if target["id"] is None:
        by = f", last changed by {asset.updated_by} at {asset.update_time}" if asset.updated_by else ""
        return f"it was missing, and is there now{by}."
    if asset.id != target["id"]:
        return f"another object stands in its place: its id was {target['id']}, and is now {asset.id}."
    if not row["overwrites"]:
        return None
    if (asset.updated_by, asset.update_time) != (target["updated_by"], target["update_time"]):
        return f"{asset.updated_by} changed it at {asset.update_time}; the plan knew it as of {target['update_time']}."
    return obstacle(controlled, user) if controlled else None


def _participle(row: Mapping[str, Any]) -> str:
    words = {"map": "used instead", "reuse": "reused"}
    return "overwritten" if row["overwrites"] else words.get(row["action"], "there")
