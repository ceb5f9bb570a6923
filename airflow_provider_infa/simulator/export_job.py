"""What an export takes with it, and the work of an export job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_infa.simulator import joblog, jobs, wire
from airflow_provider_infa.simulator.assets import Asset, AssetStore
from airflow_provider_infa.simulator.faults import Fault
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.package import Export, write_package


def closure(store: AssetStore, roots: Mapping[str, bool]) -> list[Asset]:
    """Return what an export of these roots contains, by id as the one captured sample.

    :param roots: ids, and whether to include what the object depends on: its containers, connections, runtime
        environments, mappings, and theirs. Schedules are no dependencies (Informatica docs: Asset migration).
    """
    chosen: dict[str, Asset] = {}
    pending: list[Asset] = []
    for id_, with_dependencies in roots.items():
        root = store.get(id_)
        if root is None:
            continue
        objects = [root, *store.contents(root)] if root.is_container else [root]
        chosen |= {asset.id: asset for asset in objects}
        if with_dependencies:
            pending += objects
    expanded: set[str] = set()
    while pending:
        asset = pending.pop()
        if asset.id in expanded:
            continue
        expanded.add(asset.id)
        chosen[asset.id] = asset
        pending += store.containers_of(asset)
        pending += store.many(asset.uses)
    return [chosen[id_] for id_ in sorted(chosen)]


async def run(
    org: Org,
    job: Job,
    moment: datetime,
    roots: Mapping[str, bool],
    *,
    with_tags: bool,
    fate: Mapping[str, Fault],
) -> None:
    """Do the work of an export: build the package once, so that every download of it is the same."""
    if "fail_job" in fate:
        job.state, job.message = jobs.FAILED, str(fate["fail_job"].parameters["message"])
        job.rows = []
        job.log = joblog.whole(job, org.name, org.name, [])
        return
    objects = closure(org.assets, roots)
    export = Export(
        job_name=job.name,
        org_id=org.id,
        org_name=org.name,
        moment=moment,
        objects=objects,
        uses={other.id: other for asset in objects for other in org.assets.many(asset.uses)},
        with_tags=with_tags,
    )
    package = org.folder / f"{job.id}.zip"
    job.package_sha256 = await asyncio.to_thread(write_package, package, export)
    job.package = package
    job.rows = [_row(asset) for asset in objects]
    job.state, job.message = jobs.SUCCESSFUL, "Export completed successfully"
    job.log = joblog.whole(job, org.name, org.name, _log_lines(org, moment, objects))


def _row(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "name": asset.name,
        "path": asset.job_path,
        "type": asset.type,
        "description": asset.description,
        "status": {"state": jobs.SUCCESSFUL, "message": None},
    }


def _log_lines(org: Org, moment: datetime, objects: list[Asset]) -> list[str]:
    """Return one line per object: containers, the system container, runtime environments, connections, assets
    bottom-up (captured in infapy docs, 2021). The system container is in the log only.
    """
    system = [
        ("/SYS/_SYSTEM_PROJECT", "Project", wire.stable_id(org.id, "_SYSTEM_PROJECT")),
        ("/SYS/_SYSTEM_FOLDER", "Folder", wire.stable_id(org.id, "_SYSTEM_FOLDER")),
    ]
    containers = sorted((a for a in objects if a.is_container), key=lambda asset: asset.path)
    rows = [(asset.location, asset.type, asset.id) for asset in containers]
    if any(asset.is_system for asset in objects):
        rows += system
    for type_ in ("AgentGroup", "Connection"):
        rows += [(asset.location, asset.type, asset.id) for asset in objects if asset.type == type_]
    rows += [(asset.location, asset.type, asset.id) for asset in bottom_up(objects)]
    return [
        joblog.line(
            "OIE_004",
            "INFO",
            moment,
            f"Successfully exported object [{path}] of type [{type_}] id [{id_}]",
        )
        for path, type_, id_ in rows
    ]


def bottom_up(objects: list[Asset]) -> list[Asset]:
    """Return the assets among these objects, each after those that it uses."""
    by_id = {asset.id: asset for asset in objects if not asset.is_container and not asset.is_system}
    done: dict[str, Asset] = {}

    def visit(asset: Asset, above: frozenset[str]) -> None:
        for id_ in asset.uses:
            if id_ in by_id and id_ not in done and id_ not in above:
                visit(by_id[id_], above | {id_})
        done[asset.id] = asset

    for asset in by_id.values():
        if asset.id not in done:
            visit(asset, frozenset({asset.id}))
    return list(done.values())
