"""After an import: whether the org holds what the plan said it would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcVerificationError
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import Asset, Job, ObjectResult, full_path
from airflow_provider_infa.idmc.planned import BLOCKED, CREATE, OVERWRITE, REUSE
from airflow_provider_infa.idmc.session import Session

#: Differences named in an error.
SHOWN = 50
#: What IDMC may say that it did, for what was planned.
_FITTING = {CREATE: {"created"}, OVERWRITE: {"overwritten"}, REUSE: {"reused"}}


def verify_import(session: Session, plan: Mapping[str, Any], job: Job) -> list[dict[str, Any]]:
    """
    Compare the org with the plan, object by object.

    :param session: Session with the target org.
    :param plan: The plan.
    :param job: The import job that carried it out, with its objects.
    :return: A row for each object: ``path``, ``type``, ``action``, ``done``, ``source_id``, ``old_id`` and ``new_id``,
        which IDMC's own answer leaves out.
    :raises IdmcVerificationError: With every difference.
    """
    rows = list(plan["objects"])
    refs = [{"path": row["target"]["path"], "type": row["target"]["type"]} for row in rows]
    found = lookup(session, refs, ignore_missing=True)
    results = {result.id: result for result in job.objects or ()}
    places = Counter(_place(row) for row in rows)
    differences = []
    verified = []
    for row, asset in zip(rows, found, strict=True):
        source, target = row["source"], row["target"]
        result = results.get(source["id"])
        # Which of two folders that become one creates it, is for IDMC to decide.
        is_shared = places[_place(row)] > 1
        if difference := _difference(row, asset, result, is_shared=is_shared):
            differences.append(f"{target['type']} {target['path']}: {difference}")
        verified.append(
            {
                "path": target["path"],
                "type": target["type"],
                "action": row["action"],
                "done": result.done if result else None,
                "source_id": source["id"],
                "old_id": target["id"],
                "new_id": asset.id if asset else None,
            }
        )
    if differences:
        more = [f"... and {len(differences) - SHOWN} more"] if len(differences) > SHOWN else []
        org = session.login().org_name
        head = f"Org {org} does not hold what the plan said; {len(differences)} of {len(rows)} objects differ:"
        raise IdmcVerificationError("\n  ".join([head, *differences[:SHOWN], *more]))
    return verified


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["target"]["path"], row["target"]["type"].upper()


def _difference(
    row: Mapping[str, Any], asset: Asset | None, result: ObjectResult | None, *, is_shared: bool
) -> str | None:
    action, target = row["action"], row["target"]
    if action == BLOCKED:
        return None
    if asset is None:
        return f"planned to {action}, but it is not there."
    if target["id"] is not None and asset.id != target["id"]:
        return f"its id was {target['id']}, and is now {asset.id}: it is another object."
    done = result.done if result else None
    fitting = {"created", "reused"} if is_shared else set()
    if done and done not in _FITTING.get(action, {done}) | fitting:
        return f"planned to {action}, but IDMC says that it was {done}."
    # Whether IDMC would show the path in the package, where that is another one, was seen nowhere.
    expected = {target["path"], row["source"]["path"], full_path(*target["path"].rpartition("/")[::2])}
    if done in ("created", "overwritten") and result and result.target_path and result.target_path not in expected:
        return f"planned to {action}, but IDMC says that it was {done} as {result.target_path}."
    unchanged = (asset.updated_by, asset.update_time) == (target["updated_by"], target["update_time"])
    if row["overwrites"] and unchanged and done != "overwritten":
        return f"planned to {action}, but it is as it was: last changed by {asset.updated_by} at {asset.update_time}."
    return None
