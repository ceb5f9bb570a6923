"""What tests may look at: the state of an org as plain data, for the control endpoint and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow_provider_infa.simulator import wire
from airflow_provider_infa.simulator.assets import Asset, AssetStore
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org


def summary(org: Org) -> dict[str, Any]:
    """Return what an org is and where it is served; no passwords."""
    return {
        "name": org.name,
        "id": org.id,
        "login_url": org.login_url,
        "api_url": org.base_url,
        "users": sorted(org.users),
        "assets": len(org.assets.listing()),
        "connections": [asset.name for asset in org.assets.of_type("Connection")],
        "runtime_environments": [asset.name for asset in org.assets.of_type("AgentGroup")],
        "settings": asdict(org.settings),
        "faults": org.faults.view(),
    }


def assets(org: Org) -> list[dict[str, Any]]:
    """Return every object of an org, system objects too, by path and type.

    What an object uses is told by type and path, so that two orgs can be compared.
    """
    found = sorted(org.assets, key=lambda asset: (asset.is_system, asset.path, asset.type))
    return [_asset(asset, org.assets) for asset in found]


# What stays the same when an org comes back to where it was: no ids, nobody's name, no moments.
_STATE = (
    "path", "type", "description", "tags", "definition", "persisted", "payload_bytes", "schedule", "published",
    "source_control"
)  # fmt: skip


def state(org: Org) -> list[dict[str, Any]]:
    """Return every object of an org as something that can be compared, with the state of before or of another
    org; what an object uses is told by path, and tags come in one order.
    """
    return [
        {name: row[name] for name in _STATE}
        | {"tags": sorted(row["tags"]), "uses": sorted(use["path"] for use in row["uses"])}
        for row in assets(org)
    ]


def jobs(org: Org) -> list[dict[str, Any]]:
    """Return every job of an org, oldest first."""
    return [_job(job) for job in org.jobs]


def sessions(org: Org) -> dict[str, Any]:
    """Return how many sessions are open and how many logins and logouts there were."""
    locked = [user.name for user in org.users.values() if user.failed_logins >= org.settings.max_login_attempts]
    return org.sessions.counts() | {"locked": locked}


def connections(orgs: Mapping[str, Org], ca_bundle: Path | None = None) -> dict[str, Any]:
    """Return a connection for each org, under the name that DAGs use.

    :param ca_bundle: what a client has to trust.
    """
    extra = {"extra": {"ca_bundle": str(ca_bundle)}} if ca_bundle else {}
    found = {}
    for key, org in orgs.items():
        user = next(iter(org.users.values()))
        found[f"infa_{key}"] = {
            "conn_type": "infa",
            "host": org.login_url,
            "login": user.name,
            "password": user.password,
            **extra,
        }
    return found


def runtime_environments(orgs: Mapping[str, Org]) -> dict[str, str]:
    """Return the first runtime environment of each org that has one, by connection."""
    return {f"infa_{key}": names[0].name for key, org in orgs.items() if (names := org.assets.of_type("AgentGroup"))}


def _asset(asset: Asset, store: AssetStore) -> dict[str, Any]:
    uses = [{"path": other.path, "type": other.type, "id": other.id} for other in store.many(asset.uses)]
    control = asset.source_control
    return {
        "path": asset.path,
        "type": asset.type,
        "id": asset.id,
        "context_id": asset.context_id,
        "description": asset.description,
        "tags": list(asset.tags),
        "updated_by": asset.updated_by,
        "update_time": wire.seconds(asset.update_time),
        "uses": sorted(uses, key=lambda other: (other["type"], other["path"])),
        "schedule": asset.schedule,
        "definition": dict(asset.definition),
        "persisted": dict(asset.persisted),
        "payload_bytes": asset.payload_bytes,
        "source_controlled": control is not None and control.source_controlled,
        "checked_out_by": control.checked_out_by if control else None,
        "source_control": _source_control(asset),
        "published": asset.is_published,
    }


def _source_control(asset: Asset) -> dict[str, Any] | None:
    """Return where an asset stands in source control, without moments."""
    control = asset.source_control
    if control is None:
        return None
    return {
        "source_controlled": control.source_controlled,
        "checked_out_by": control.checked_out_by,
        "hash": control.hash,
        "last_checkin_by": control.last_checkin_by,
    }


def _job(job: Job) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "id": job.id,
        "name": job.name,
        "user": job.user,
        "state": job.state,
        "message": job.message,
        "start_time": wire.millis(job.started) if job.started else None,
        "starts": job.starts,
        "start_requests": job.start_requests,
        "package_sha256": job.package_sha256,
        "specification": job.specification,
        "objects": job.rows,
    }
