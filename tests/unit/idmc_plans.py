"""Plans as data, for tests of what is done with them."""

from __future__ import annotations

from typing import Any

from airflow_provider_infa.idmc.planned import ACTIONS, hash_of

from .idmc_doubles import ORG, ORG_ID, USER

BEFORE = "2026-01-20T06:00:12Z"


def row(path: str, type: str = "MTT", action: str = "overwrite", **changes: Any) -> dict[str, Any]:
    """A row of a plan. ``target`` holds changes of the target's side; by default that has it unless it is created."""
    there = action not in ("create", "blocked")
    target = {
        "id": f"target-{path}" if there else None,
        "path": path,
        "type": type,
        "updated_by": USER if there else None,
        "update_time": BEFORE if there else None,
    } | changes.pop("target", {})
    return {
        "source": {"id": f"source-{path}", "path": path, "type": type},
        "target": target,
        "action": action,
        "overwrites": action == "overwrite",
        "reason": f"Because of {path}.",
        "drift": None,
        **changes,
    }


def plan_of(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A plan with these rows and a hash that fits."""
    plan: dict[str, Any] = {
        "package": {
            "sha256": "0" * 64,
            "size": 4711,
            "name": "release-12",
            "source_org_id": "fg1dzqDZ1K3lbHp8uq5vQB",
            "source_org_name": "ACME_DEV",
        },
        "target_org": {"id": ORG_ID, "name": ORG},
        "user": USER,
        "import_specification": {"defaultConflictResolution": "OVERWRITE"},
        "counts": {action: sum(row["action"] == action for row in rows) for action in ACTIONS},
        "objects": list(rows),
        "missing": [],
        "drift": [row["target"]["path"] for row in rows if row["drift"]],
        "schedules": {},
        "unscheduled": [],
        "without_password": [],
        "warnings": [],
        **changes,
    }
    return {"version": 1, "hash": hash_of(plan), **plan}
